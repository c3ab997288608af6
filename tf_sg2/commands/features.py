"""The command `tf-sg2 features`: where weights of feature networks are, and a check of a file."""

from __future__ import annotations

from collections.abc import Sequence

from tf_sg2.commands.flags import CommandFlags, parse
from tf_sg2.errors import InputError

NETWORKS = ("inception", "vgg16", "alexnet")

USAGE = """
Says where the weights of the feature networks are, and checks a file that you have.

  tf-sg2 features
  tf-sg2 features --check=pt_inception-2015-12-05-6726825d.pth
  tf-sg2 features --check=vgg16.safetensors --network=vgg16

Nothing is downloaded: fetch a file with its command, and give it to tf-sg2 evaluate
--feature_weights. A .pth file must have the hash below. It is read without executing its pickle.
Conversions to .safetensors, .npz and .h5 are accepted too: their arrays must have the names and
shapes.

inception: Inception of 2015, for FID, KID and the Inception Score; from pytorch-fid
  file:    pt_inception-2015-12-05-6726825d.pth, 91 MiB, SHA-256
           6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2
  command: curl -LO https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth
vgg16: VGG16, for precision and recall, LPIPS and path lengths; from torchvision
  file:    vgg16-397923af.pth, 528 MiB, SHA-256
           397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0
  command: curl -LO https://download.pytorch.org/models/vgg16-397923af.pth
alexnet: AlexNet, for LPIPS in Python; from torchvision
  file:    alexnet-owt-7be5be79.pth, 233 MiB, SHA-256
           7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02
  command: curl -LO https://download.pytorch.org/models/alexnet-owt-7be5be79.pth
ppocr: PP-OCRv6, the text detector; the default
  file:    PP-OCRv6_det_small.onnx, part of the package rapidocr, SHA-256
           090f04abcd9d9a7498bc4ebf677e4cb9bdce1fe4197ddb7e529f1ef44e1ff94f
  command: pip install 'tf-sg2[evaluation]'
Any other network: an .onnx file, such as DINOv2 or CLIP, as tf-sg2 evaluate --features=FILE.onnx.
"""


def define_flags(flags: CommandFlags) -> None:
    """Defines the flags of the command."""
    flags.string("check", None, "weight file to check: its hash, and its arrays")
    flags.enum("network", None, NETWORKS, "what the file is for; default: by its name")


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 features`."""
    values = parse("features", arguments, define_flags, USAGE)
    if values.check is None:
        print(USAGE.strip())
        return
    print(check(values.check, values.network))


def check(path: str, network: str | None = None) -> str:
    """Returns a sentence about a weight file that can be used.

    Args:
        path: the file.
        network: a key of `SOURCES`; None finds it by the file's name.

    Raises:
        InputError: if the file has another hash, cannot be read, or is of another network.
    """
    from pathlib import Path

    from tf_sg2.metrics import features

    stem = Path(path).name.partition(".")[0]
    if network is None:
        stems = {Path(source.file).stem: name for name, source in features.SOURCES.items()}
        network = stems.get(stem)
        if network is None:
            raise InputError(
                f"the name of {path} does not say what it is for; give --network, one of "
                f"{', '.join(NETWORKS)}"
            )
    file = features.read_weights(path, network)
    if network == "inception":
        features.Inception(file.arrays)
    else:
        features.LPIPS(network, file.arrays)
    return f"{path} can be used as {network}: SHA-256 {file.sha256}"
