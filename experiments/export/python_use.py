"""What an exported Python module offers around its network: loading, predicting, timm's registry.

Texts, since each is written with the data's own numbers; every one needs torch alone until it is
given a picture (Pillow) or is a model of timm's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...evaluators.data.dataset import CROPPED


def constants(data: Mapping[str, Any], classes: int) -> str:
    """How an image becomes the network's input, as `DataSet.describe` kept it with the weights."""
    named = {
        "CLASSES": data.get("class_names") or [str(number) for number in range(classes)],
        "MEAN": data.get("mean"),
        "STD": data.get("std"),
    }
    return "".join(f"{name} = {value!r}\n" for name, value in named.items())


def predicting(data: Mapping[str, Any], shape: tuple[int, int, int]) -> str:
    """`prepared` and `predict`; without the part for pictures where the data do not say what
    black and white are."""
    _, height, width = shape
    values, colour = data.get("range"), data.get("colour")
    picture = ""
    if values and colour:
        black, white = values
        size = f"({width}, {height})"
        fit = f"ImageOps.fit(image, {size})"
        whole = f"image.resize({size}, Image.Resampling.BILINEAR)"
        said = {
            "MODE": "L" if colour == "grey" else "RGB",
            "RESIZED": fit if data.get("resize") == CROPPED else whole,
            "IMPORTS": "Image, ImageOps" if data.get("resize") == CROPPED else "Image",
            "SCALE": f" * {(white - black) / 255!r}" if white - black != 255 else "",
            "BLACK": f" + {black!r}" if black else "",
        }
        picture = _PICTURE
        for name, text in said.items():
            picture = picture.replace(f"__{name}__", text)
    return _PREDICT.replace("__PICTURE__", picture)


_PREDICT = '''def prepared(image):
    """(N, C, H, W), as the network was trained: of a path, a Pillow image, or a tensor or array
    (C, H, W) or (N, C, H, W) of the network's size, in the units of MEAN and STD."""
__PICTURE__    pixels = torch.as_tensor(image).float()
    pixels = pixels[None] if pixels.ndim == 3 else pixels
    pixels = pixels.expand(-1, len(MEAN), -1, -1)
    shape = (1, -1, 1, 1)
    return (pixels - torch.tensor(MEAN).view(shape)) / torch.tensor(STD).view(shape)


def predict(image, network=None):
    """[(class, probability), ...], the most probable first, for what `prepared` takes."""
    network = network or loaded()
    with torch.no_grad():
        probabilities = network(prepared(image)).softmax(1)[0].tolist()
    return sorted(zip(CLASSES, probabilities), key=lambda pair: -pair[1])
'''

_PICTURE = """    if isinstance(image, (str, Path)):
        from PIL import Image

        image = Image.open(image)
    if hasattr(image, "convert"):
        from PIL import __IMPORTS__

        image = image.convert("__MODE__")
        image = __RESIZED__
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        pixels = pixels.view(image.height, image.width, -1).permute(2, 0, 1)
        image = pixels.float()__SCALE____BLACK__
"""

LOAD = '''def load(path=None):
    """The trained network, ready for inference. By default its weights lie beside this file."""
    if path is None:
        path = Path(__file__).with_name(Path(__file__).stem + "_weights.pt")
    weights = torch.load(path, map_location="cpu", weights_only=True)
    network = Network()
    network.load_state_dict(weights.get("state_dict", weights))
    return network.eval()


loaded = lru_cache(maxsize=1)(load)
'''


def for_timm(
    name: str,
    data: Mapping[str, Any],
    shape: tuple[int, int, int],
    classes: int,
    head: Mapping[str, str],
) -> str:
    """The registration with timm. `head`: where the first convolution and the classifier are."""
    black, white = data.get("range") or (0.0, 1.0)
    cropped = data.get("resize") == CROPPED
    config: dict[str, Any] = {
        "input_size": shape,
        "fixed_input_size": True,
        # timm's images are fractions of white, whatever the data's numbers were.
        "mean": tuple((value - black) / (white - black) for value in data.get("mean") or [0.0]),
        "std": tuple(value / (white - black) for value in data.get("std") or [1.0]),
        "interpolation": "bicubic" if cropped else "bilinear",
        "crop_pct": 1.0,
        "crop_mode": "center" if cropped else "squash",
        "num_classes": classes,
        **head,
    }
    rows = "".join(f"    {key!r}: {value!r},\n" for key, value in config.items())
    text = _TIMM.replace("__NAME__", name).replace("__CHANNELS__", str(shape[0]))
    return text.replace("__CONFIG__", rows)


_TIMM = '''from timm.models import FeatureInfo, register_model  # noqa: E402

default_cfgs = {
    "__NAME__": {
__CONFIG__    "label_names": tuple(CLASSES),
    "file": str(Path(__file__).with_name(Path(__file__).stem + "_weights.pt")),
    }
}


class Features(nn.Module):
    """The feature maps after the stem (index 0) and after each stage; (high, low) pairs joined, the
    low channels, at half the resolution, each pixel four times, after the high ones."""

    def __init__(self, network, out_indices):
        super().__init__()
        self.stem, self.stages = network.stem, network.stages
        count = 1 + len(self.stages)
        wanted = range(count) if out_indices is None else out_indices
        wanted = [wanted] if isinstance(wanted, int) else list(wanted)
        if not all(-count <= index < count for index in wanted):
            raise ValueError(f"out_indices must be from 0 to {count - 1}, not {out_indices}")
        self.wanted = [index % count for index in wanted]
        size = default_cfgs["__NAME__"]["input_size"]
        with torch.no_grad():
            maps = self.eval().maps(torch.zeros(1, *size))
        self.train()
        names = ["stem", *(f"stages.{name}" for name, _ in self.stages.named_children())]
        info = [
            {"num_chs": x.shape[1], "reduction": round(size[1] / x.shape[2]), "module": name}
            for x, name in zip(maps, names)
        ]
        self.feature_info = FeatureInfo(info, tuple(self.wanted))

    def maps(self, x):
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return [joined(x) for x in maps]

    def forward(self, x):
        maps = self.maps(x)
        return [maps[index] for index in self.wanted]


def joined(x):
    if not isinstance(x, tuple):
        return x
    low = x[1].repeat_interleave(2, 2).repeat_interleave(2, 3)
    return torch.cat([x[0], low[:, :, : x[0].shape[2], : x[0].shape[3]]], dim=1)


@register_model
def __NAME__(
    pretrained=False,
    num_classes=None,
    in_chans=__CHANNELS__,
    features_only=False,
    out_indices=None,
    pretrained_cfg=None,
    pretrained_cfg_overlay=None,
    cache_dir=None,
    **unknown,
):
    if in_chans != __CHANNELS__:
        raise ValueError(f"this network was made for __CHANNELS__ channels, not {in_chans}")
    for name, value in unknown.items():
        if value:
            raise ValueError(f"this network takes no {name}")
    if out_indices is not None and not features_only:
        raise ValueError("out_indices needs features_only=True")
    network = load() if pretrained else Network()
    config = default_cfgs["__NAME__"]
    last = network.head[-1]
    if num_classes is not None and num_classes != last.out_features:
        network.head[-1] = nn.Linear(last.in_features, num_classes)
        config = {**config, "num_classes": num_classes, "label_names": None}
    network.num_classes = network.head[-1].out_features
    if features_only:
        network = Features(network, out_indices)
    network.pretrained_cfg = network.default_cfg = config
    return network.eval() if pretrained else network
'''
