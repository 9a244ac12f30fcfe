"""What a model is, its one file, and where models are found."""

from napari_unet.models.file import (
    SUFFIX,
    file_hash,
    is_model_file,
    load_model_file,
    model_hash,
    read_spec,
    save_model,
)
from napari_unet.models.library import (
    free_path,
    import_model,
    library_folder,
    list_models,
    load_model,
    model_path,
)
from napari_unet.models.spec import (
    ClassSpec,
    DecoderSpec,
    MapSpec,
    Model,
    ModelSpec,
    NetworkSpec,
    inverted,
    named_classes,
)

__all__ = [
    "SUFFIX",
    "ClassSpec",
    "DecoderSpec",
    "MapSpec",
    "Model",
    "ModelSpec",
    "NetworkSpec",
    "file_hash",
    "free_path",
    "import_model",
    "inverted",
    "is_model_file",
    "library_folder",
    "list_models",
    "load_model",
    "load_model_file",
    "model_hash",
    "model_path",
    "named_classes",
    "read_spec",
    "save_model",
]
