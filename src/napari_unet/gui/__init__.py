"""The napari side: the only folder that imports napari or Qt."""
