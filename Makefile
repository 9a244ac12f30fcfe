# Every target sets itself up: a second call is instant, a change of the dependencies installs again.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

# a screen is X, Wayland or macOS; without one a virtual one comes along
ifeq ($(DISPLAY)$(WAYLAND_DISPLAY)$(filter Darwin,$(shell uname -s)),)
  HEADLESS := yes
  virtual_screen = QT_QPA_PLATFORM=xcb xvfb-run -a -s "-screen 0 $(1)x24"
endif

.PHONY: demo test check check-long pictures clean

demo: $(READY)
	$(call virtual_screen,1280x800) $(BIN)/napari-unet demo $(if $(HEADLESS),--output demo-output)

pictures: $(READY)
	$(call virtual_screen,1280x800) $(BIN)/napari-unet demo --output demo-output
	cp demo-output/*.png docs/images/
	$(BIN)/python docs/pictures/border_weights.py docs/images/border-weights.png

# many tests start a Python of their own: none of them compiles what another has compiled
test: $(READY)
	$(call virtual_screen,1280x1024) env OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n 2 --dist worksteal

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/npe2 validate --imports napari-unet

# 200 sessions in processes of their own, killed at random instants
check-long: $(READY)
	NAPARI_UNET_LONG=1 $(BIN)/pytest tests/correction/test_crash.py

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist demo-output
	find src tests benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt .ci/setup
	PYTHON="$(PYTHON)" .ci/setup
	@touch $@
