# SPDX-License-Identifier: Apache-2.0
"""A small valid set for every reader of external files, and how it is read."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import pickle
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adaptface_jax.align.folder import kind_of
from adaptface_jax.core.errors import InputError
from adaptface_jax.data.decode import decode, header_size
from adaptface_jax.data.record import Source
from tests.data.packing import encoded, header, identity_payloads, picture, write_records
from tests.weights.archives import STORAGE, archive, dictionary, entry, module, program, raw, script, state, tensor


def check(error: InputError) -> None:
    """One line that a terminal can show."""
    message = str(error)
    if "\n" in message or not message.isprintable() or len(message) > 3000:
        raise AssertionError(f"no clear line: {message[:300]!r}")


@dataclasses.dataclass(frozen=True)
class Reader:
    """make: writes a valid set into a folder. read: reads all of it. damaged: patterns of the files to damage.
    mend: fixes the checksums of a damaged set, so that what they protect is read too."""

    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    damaged: tuple[str, ...] = ("**/*",)
    mend: Callable[[Path], None] | None = None


def read_all(source: Source) -> None:
    """Every record, its image only by its header: images are fuzzed separately."""
    for index in range(len(source)):
        try:
            header_size(source[index].image, "x")
        except InputError as error:
            check(error)


def image(form: str, **options: Any) -> Reader:
    """Images of one format."""
    pixels: Any = picture(3, 24, 20)
    if options.pop("deep", False):
        pixels = pixels[..., 0].astype(np.uint16) * 257

    def make(folder: Path) -> None:
        held = Image.fromarray(pixels)
        if mode := options.pop("mode", None):
            held = held.convert(mode)
        file = io.BytesIO()
        held.save(file, form, **options)
        (folder / "x").write_bytes(file.getvalue())

    return Reader(make, lambda folder: decode((folder / "x").read_bytes(), "x"))


def write_all(folder: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


PNG = encoded(picture(0, 8, 8))
PEOPLE = {f"{name}/{name}_{i:04d}.jpg": encoded(picture(i, 8, 8), "JPEG") for name in ("ann", "bob") for i in (1, 2, 3)}


def listed(name: str, text: str, read: Callable[[Path], Any]) -> Reader:
    """A list over the images of two people."""
    return Reader(lambda folder: write_all(folder, {**PEOPLE, name: text}), lambda folder: read(folder / name), (name,))


def web_dataset(folder: Path) -> None:
    """A tar of the images of two people."""
    files = {key.replace("/", "_"): content for key, content in PEOPLE.items()}
    with tarfile.open(folder / "train-0.tar", "w") as packed:
        for name, content in {**files, **{f"{name[:-4]}.cls": name[:3].encode() for name in files}}.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))


def training(path: Path) -> None:
    from adaptface_jax.data.sources.from_path import open_source

    read_all(open_source(str(path)))


def benchmark(path: Path, domains: str = "") -> None:
    from adaptface_jax.data.benchmarks.from_path import open_benchmark

    found = open_benchmark(str(path), domains)
    for number in range(len(found.images)):
        try:
            header_size(found.images[number], "x")
        except InputError as error:
            check(error)


def parts(folder: Path) -> None:
    from adaptface_jax.data.splits import open_splits

    found = open_splits(str(folder))
    for part in (found.train, found.validation, found.test):
        read_all(part)


LABELS = "path,pose,light\n" + "".join(f"{name},{'left' if i % 2 else 'right'},good\n" for i, name in enumerate(PEOPLE))
KEYS = list(PEOPLE)
PAIRS = [(KEYS[0], KEYS[1], 1), (KEYS[3], KEYS[4], 1), (KEYS[0], KEYS[3], 0), (KEYS[2], KEYS[5], 0)]
LFW = "1\t2\nann\t1\t2\nbob\t1\t3\nann\t1\tbob\t2\nann\t3\tbob\t3\n"
CSV = "path1,path2,same,fold,domain,domain1,domain2\n" + "".join(
    f"{a},{b},{s},{i % 2},d{i},x+y,\n" for i, (a, b, s) in enumerate(PAIRS)
)
HALVES = "".join(f"{path} {same}\n" for a, b, same in PAIRS for path in (a, b))


def labels(folder: Path) -> None:
    from adaptface_jax.data.sources.from_path import open_source

    read_all(open_source(str(folder), domains="left:pose=left; right:pose=right"))


def pack(folder: Path) -> None:
    images = [PNG, PNG, np.frombuffer(PNG, np.uint8), np.frombuffer(PNG, np.uint8)[:, None]]
    write_all(folder, {"x.bin": pickle.dumps((images, [True, False]), protocol=2)})


def cfp(folder: Path) -> None:
    people = {
        f"Data/Images/{p:03d}/{v}/{i:02d}.jpg": PNG for p in (1, 2) for v in ("frontal", "profile") for i in (1, 2)
    }
    rows = [f"{n} ../Data/Images/{1 + n // 3:03d}/{v}/{1 + n % 2:02d}.jpg\n" for v in ("frontal",) for n in range(1, 5)]
    split = {
        f"Protocol/Split/{kind}/{f:02d}/{name}.txt": text
        for kind in ("FF", "FP")
        for f in range(1, 11)
        for name, text in (("same", "1,2\n"), ("diff", "1,3\n"))
    }
    write_all(
        folder,
        {**people, **split, "Protocol/Pair_list_F.txt": "".join(rows), "Protocol/Pair_list_P.txt": "".join(rows)},
    )


def rfw(folder: Path) -> None:
    for race in ("African", "Asian", "Caucasian", "Indian"):
        write_all(folder, {f"data/{race}/{name}": data for name, data in PEOPLE.items()})
        write_all(folder, {f"txts/{race}/{race}_pairs.txt": LFW.partition("\n")[2]})


def ijb(folder: Path) -> None:
    write_all(folder, {f"loose_crop/{i}.png": PNG for i in range(1, 9)})
    faces = "".join(f"{i}.png {1 + i // 2} {i}\n" for i in range(1, 9))
    points = "".join(f"{i}.png 1 2 3 4 5 6 7 8 9 10 0.9\n" for i in range(1, 9))
    write_all(
        folder,
        {
            "meta/ijbc_face_tid_mid.txt": faces,
            "meta/ijbc_template_pair_label.txt": "1 2 1\n1 3 0\n2 4 0\n",
            "meta/ijbc_name_5pts_score.txt": points,
        },
    )


def read_ijb(folder: Path) -> None:
    from adaptface_jax.data.benchmarks.ijb import Cropped, open_ijb

    found = Cropped(open_ijb(folder), lambda pixels, points: pixels)
    for number in range(len(found)):
        found[number]


def celeba(folder: Path) -> None:
    from tests.data.test_celeba import ROWS, attributes_txt, partition_txt

    write_all(folder, {f"img_align_celeba/{name}": PNG for name in ROWS})
    write_all(folder, {"list_attr_celeba.txt": attributes_txt(), "list_eval_partition.txt": partition_txt()})


def tiny_imagenet(folder: Path) -> None:
    from tests.data.test_tiny_imagenet import ANNOTATIONS, WNIDS

    write_all(folder, {f"train/{w}/images/{w}_{i}.JPEG": PNG for w in WNIDS for i in range(10)})
    write_all(folder, {f"val/images/val_{i}.JPEG": PNG for i in range(3)} | {"wnids.txt": "\n".join(WNIDS)})
    write_all(folder, {"val/val_annotations.txt": ANNOTATIONS, "words.txt": "n1\tcrane\nn2\tcrane, bird\nn3\tfish\n"})


def parquet(folder: Path) -> None:
    from tests.data.test_parquet import table, write

    write(folder / "train-00000-of-00002.parquet", table(0, 13))
    write(folder / "train-00001-of-00002.parquet", table(13, 30))


def shards(folder: Path) -> None:
    from adaptface_jax.data.packing import Limit
    from adaptface_jax.data.packing import pack as write_shards
    from adaptface_jax.data.sources.from_path import open_source

    with tempfile.TemporaryDirectory() as place:
        write_all(Path(place), PEOPLE | {"labels.csv": LABELS})
        write_shards(open_source(place, labels=f"{place}/labels.csv"), folder, Limit(shards=2))


def tfds(folder: Path) -> None:
    from tests.data.test_tfds import lfw_like

    lfw_like(folder)


def read_tfds(folder: Path) -> None:
    os.environ["TFDS_DATA_DIR"] = str(folder)
    training("tfds:tiny")  # type: ignore[arg-type]


def weights(folder: Path) -> None:
    from adaptface_jax.weights.formats.reader import open_weights

    tensors = open_weights(folder / "x")
    for name in tensors:
        if tensors.dtypes[name] in ("F32", "F16", "BF16"):
            assert tensors[name].shape == tensors.shapes[name]


SAFE = raw("{" + entry("x", 0, 16, [2, 2]) + "," + entry("y", 16, 24, [4], "BF16") + "}", STORAGE)
GOLDENS = Path(__file__).parents[1] / "goldens" / "backbones"
BESIDE = {
    "tiny_clip": {
        "preprocessor_config.json": {
            "image_mean": [0.1, 0.2, 0.3],
            "image_std": [0.4, 0.5, 0.6],
            "do_rescale": True,
            "rescale_factor": 1 / 255,
        }
    },
    "tiny_dinov2": {"processor_config.json": {"image_processor": {"image_mean": [0.1] * 3, "image_std": [0.4] * 3}}},
}


def hugging_face(row: str) -> Reader:
    """A published folder with damaged settings."""
    from adaptface_jax.models.specs import BACKBONES
    from tests.made_weights import TINY

    def make(folder: Path) -> None:
        shutil.copytree(GOLDENS / row, folder, dirs_exist_ok=True)
        write_all(folder, {name: json.dumps(content) for name, content in BESIDE[row].items()})

    return Reader(make, _load(row, {**BACKBONES, **TINY}), ("*.json",))


def other_project(row: str, dialect: str, beside: dict[str, Any]) -> Reader:
    """A folder in another project's names, with that project's settings."""
    from adaptface_jax.models.specs import BACKBONES
    from tests import made_weights

    def make(folder: Path) -> None:
        import safetensors.numpy

        held = safetensors.numpy.load_file(GOLDENS / row / "model.safetensors")
        made_weights.save(folder / "model.safetensors", made_weights.dialect(dialect).of(held))
        write_all(folder, {name: json.dumps(content) for name, content in beside.items()})

    return Reader(make, _load(row, {**BACKBONES, **made_weights.TINY}), ("*.json",))


def _load(row: str, rows: dict[str, Any]) -> Callable[[Path], Any]:
    from adaptface_jax.models.specs import BACKBONES
    from adaptface_jax.weights.inspection import inspect
    from adaptface_jax.weights.loading import load_backbone

    def read(folder: Path) -> None:
        BACKBONES.update(rows)
        inspect(folder)
        load_backbone(str(folder), row, 20)

    return read


def adapter(folder: Path) -> None:
    from tests.export.adapters import DINOV2, config, export

    export(folder, config(patch=True), DINOV2)


def read_peft(folder: Path) -> None:
    from adaptface_jax.weights.peft.start import start_from
    from tests.export.adapters import DINOV2, config, fresh

    wanted = config(patch=True, folder=folder)
    start_from(wanted, DINOV2, fresh(wanted, DINOV2))


def gallery(folder: Path) -> None:
    from adaptface_jax.api.gallery import Gallery
    from adaptface_jax.api.index_files import write_index

    rows = np.eye(3, 4, dtype=np.float32)
    write_index(folder, Gallery(4).added(["a", "b", "ü"], rows), {"model": "x", "opened": {}}, overwrite=False)


def read_gallery(folder: Path) -> None:
    from adaptface_jax.api.index_files import read_index

    read_index(folder, "x")


def mend_gallery(folder: Path) -> None:
    from adaptface_jax.core.manifest import write_manifest

    write_manifest(folder, {"model": "x", "opened": {}})


def mend_shards(folder: Path) -> None:
    try:
        about = json.loads((folder / "dataset.json").read_bytes())
        for key, name in (("index_sha256", "index.npz"), ("table_sha256", "labels.csv")):
            about[key] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for shard in about["shards"]:
            shard["bytes"] = (folder / shard["file"]).stat().st_size
    except (ValueError, TypeError, KeyError, OSError):
        return
    (folder / "dataset.json").write_text(json.dumps(about))


def scores(folder: Path) -> None:
    from adaptface_jax.evaluation.pair_scores import PairScores, write_scores

    same = np.arange(8) % 2 == 0
    write_scores(folder / "x.npz", {"lfw": PairScores(np.linspace(0, 2, 8), same, same, np.arange(16, dtype=np.int32))})


def read_scores(folder: Path) -> None:
    from adaptface_jax.evaluation import pair_scores

    pair_scores.read_scores(folder / "x.npz")


def journal(folder: Path) -> None:
    from adaptface_jax.core.journal import Journal

    for name in PEOPLE:
        Journal(folder / "align.jsonl", kind_of).add(name, {"faces": 2})


def read_journal(folder: Path) -> None:
    from adaptface_jax.core.journal import Journal

    Journal(folder / "align.jsonl", kind_of)


READERS: dict[str, Callable[[], Reader]] = {
    **{
        f"image {form}": (lambda form=form: image(form))
        for form in ("JPEG", "PNG", "PPM", "BMP", "WEBP", "TIFF", "GIF", "AVIF")
    },
    "image CMYK": lambda: image("JPEG", mode="CMYK"),
    "image PNG 16 bit": lambda: image("PNG", deep=True),
    "image TIFF LZW": lambda: image("TIFF", compression="tiff_lzw"),
    "image TIFF 16 bit": lambda: image("TIFF", deep=True),
    "rec": lambda: Reader(
        lambda f: void(write_records(f, identity_payloads({0.0: [PNG] * 3, 1.0: [PNG] * 2}))), training
    ),
    "rec flat": lambda: Reader(
        lambda f: void(write_records(f, [(i, header(float(i % 2), i) + PNG) for i in range(6)])), training
    ),
    "WebDataset": lambda: Reader(web_dataset, training),
    "train.lst": lambda: listed(
        "train.lst", "".join(f"{i}\t{i // 3}.000\t{k}\n" for i, k in enumerate(PEOPLE)), training
    ),
    "label.txt": lambda: listed("label.txt", "".join(f"{k}\t{i // 3}\n" for i, k in enumerate(PEOPLE)), training),
    "train.csv": lambda: listed("train.csv", "path,label,x\n" + "".join(f"{k},{k[:3]},1\n" for k in PEOPLE), training),
    "labels.csv": lambda: Reader(lambda f: write_all(f, {**PEOPLE, "labels.csv": LABELS}), labels, ("labels.csv",)),
    "bin": lambda: Reader(pack, lambda folder: benchmark(folder / "x.bin")),
    "pairs LFW": lambda: listed("pairs.txt", LFW, benchmark),
    "pairs csv": lambda: listed("pairs.csv", CSV, benchmark),
    "pairs two lines": lambda: listed("pairs_CPLFW.txt", HALVES, benchmark),
    "pairs with labels": lambda: Reader(
        lambda f: write_all(f, {**PEOPLE, "labels.csv": LABELS, "pairs.txt": LFW}),
        lambda f: benchmark(f, "left:pose=left; right:pose=right"),
        ("labels.csv", "pairs.txt"),
    ),
    "CFP": lambda: Reader(cfp, benchmark, ("Protocol/**/*",)),
    "RFW": lambda: Reader(rfw, benchmark, ("txts/**/*",)),
    "IJB": lambda: Reader(ijb, read_ijb, ("meta/*",)),
    "CelebA": lambda: Reader(celeba, parts, ("*.txt",)),
    "Tiny-ImageNet": lambda: Reader(tiny_imagenet, parts, ("*.txt", "val/*.txt")),
    "Parquet": lambda: Reader(parquet, parts),
    "ArrayRecord": lambda: Reader(shards, training),
    "ArrayRecord mended": lambda: Reader(shards, training, mend=mend_shards),
    "TFDS": lambda: Reader(tfds, read_tfds),
    "safetensors": lambda: Reader(lambda f: write_all(f, {"x": SAFE}), weights),
    "pth": lambda: Reader(
        lambda f: write_all(f, {"x": archive(state(y=dictionary({"z": tensor(strides=(1, 2))})))}), weights
    ),
    "TorchScript": lambda: Reader(
        lambda f: write_all(f, {"x": script(program(module(x=tensor(), y=module(z=tensor()))))}), weights
    ),
    "settings HF CLIP": lambda: hugging_face("tiny_clip"),
    "settings HF DINOv2": lambda: hugging_face("tiny_dinov2"),
    "settings timm": lambda: other_project(
        "tiny_clip",
        "timm_clip",
        {
            "config.json": {
                "architecture": "vit_base_patch4_clip_224",
                "pretrained_cfg": {"mean": [0.1] * 3, "std": [0.4] * 3},
                "model_args": {},
            }
        },
    ),
    "settings open_clip": lambda: other_project(
        "tiny_clip",
        "openai_clip",
        {
            "open_clip_config.json": {
                "model_cfg": {
                    "embed_dim": 12,
                    "vision_cfg": {"layers": 2, "width": 16, "patch_size": 4, "image_size": 20, "head_width": 8},
                },
                "preprocess_cfg": {"mean": [0.1] * 3, "std": [0.4] * 3},
            }
        },
    ),
    "PEFT": lambda: Reader(adapter, read_peft),
    "face index": lambda: Reader(gallery, read_gallery),
    "face index mended": lambda: Reader(gallery, read_gallery, ("templates.fbin", "names.jsonl"), mend_gallery),
    "scores": lambda: Reader(scores, read_scores),
    "journal": lambda: Reader(journal, read_journal),
}


def void(_: object) -> None:
    """Nothing."""
