"""Packaging of tf_sg2: four folders of the checkout become one importable name."""

from setuptools import find_packages, setup

# Import name -> folder. Listed one by one, so that an installed environment gains `tf_sg2`
# alone and never a top-level `training` or `serving`.
FOLDERS = {
    "tf_sg2": "tf_sg2",
    "tf_sg2.training": "training",
    "tf_sg2.serving": "serving",
    "tf_sg2.custom_ops": "custom_ops",
}

packages = [
    name
    for package, folder in FOLDERS.items()
    for name in [package, *(f"{package}.{child}" for child in find_packages(folder))]
]

DEFAULT_STACK = [
    "tensorflow>=2.21,<2.22",
    "keras>=3.10,<4",
    "tensorflow-serving-api>=2.21,<2.22",
    "numpy>=1.26,<3",
]
ADDONS_STACK = [
    "tensorflow==2.15.1",
    "tensorflow-addons>=0.23,<0.24",
    "tensorflow-serving-api==2.15.1",
    "numpy>=1.26,<2",
]
