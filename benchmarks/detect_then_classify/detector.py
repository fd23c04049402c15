"""YOLOv8n by Ultralytics' own training procedure, from its description alone and without a network."""

from __future__ import annotations

import importlib
import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import yaml
from matplotlib import font_manager
from numpy.typing import NDArray

from benchmarks.detect_then_classify.packs import Pack
from benchmarks.detect_then_classify.splits import is_checked

ARCHITECTURE = "yolov8n.yaml"

CONFIDENCE = 0.05
"""Detections below this confidence count as none."""

BATCH, DETECT_BATCH = 32, 64

NO_AUGMENTATION = ("mosaic", "fliplr", "hsv_h", "hsv_s")
AUGMENTATION = {"scale": 0.2, "translate": 0.1, "degrees": 5.0} | dict.fromkeys(NO_AUGMENTATION, 0.0)
"""A mosaic shows no spine along which a level could be counted, and a mirrored axial slice swaps the sides."""


def ultralytics(settings: Path) -> ModuleType:
    """The package, set to fetch and to report nothing; its settings are kept in a folder of the run.

    A font of matplotlib stands where it looks for one of its own, which it would download otherwise.
    """
    own = settings / "Ultralytics"
    own.mkdir(parents=True, exist_ok=True)
    if not (own / "Arial.ttf").exists():
        shutil.copy(font_manager.findfont("DejaVu Sans"), own / "Arial.ttf")
    os.environ |= {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_CONFIG_DIR": str(settings)}
    package = importlib.import_module("ultralytics")
    package.settings.update({"sync": False})
    return package


def train_detector(
    pack: Pack, folder: Path, *, fold: int, epochs: int, device: str, loaders: int, settings: Path
) -> None:
    """Train on the studies of all folds but one; `run/weights/best.pt` is what did best on a tenth of them.

    Args:
        pack: pictures with boxes.
        folder: of this run; an interrupted run in it is continued.
        fold: left out.
        epochs: length.
        device: "cpu" or a CUDA device's number.
        loaders: processes that read pictures.
        settings: folder for the package's settings.
    """
    package = ultralytics(settings)
    from ultralytics.models.yolo.detect import DetectionTrainer

    class Trainer(DetectionTrainer):
        def read_results_csv(self) -> dict[str, Any]:
            """Leave the log out of the checkpoints: reading it needs polars."""
            return {}

    last = folder / "run" / "weights" / "last.pt"
    if last.exists():
        package.YOLO(last).train(trainer=Trainer, resume=True)
    else:
        description = _write_dataset(pack, folder / "data", fold=fold)
        package.YOLO(ARCHITECTURE).train(
            trainer=Trainer,
            data=str(description),
            imgsz=pack.size,
            epochs=epochs,
            batch=BATCH,
            device=device,
            workers=loaders,
            project=str(folder.resolve()),
            name="run",
            exist_ok=True,
            pretrained=False,
            amp=False,  # its check of mixed precision would download a checkpoint
            plots=False,
            verbose=False,
            seed=fold,
            deterministic=device == "cpu",
            **AUGMENTATION,
        )
    shutil.rmtree(folder / "data")


def _write_dataset(pack: Pack, folder: Path, *, fold: int) -> Path:
    """Pictures and boxes as files, as the package wants them; returns the file that describes them."""
    chosen = np.flatnonzero(pack.boxed & (pack.fold != fold))
    for index, checked in zip(chosen, is_checked(pack.study[chosen]), strict=True):
        part = "val" if checked else "train"
        for kind in ("images", "labels"):
            (folder / kind / part).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / "images" / part / f"{index}.png"), pack.pictures[index])
        lines = []
        for target, row, column in pack.boxes[index]:
            height, width = pack.box[int(target)]
            lines.append(f"{int(target)} {column:.5f} {row:.5f} {width:.5f} {height:.5f}\n")
        (folder / "labels" / part / f"{index}.txt").write_text("".join(lines))
    names = dict(enumerate(pack.classes))
    described = {"path": str(folder.resolve()), "train": "images/train", "val": "images/val", "names": names}
    (folder / "data.yaml").write_text(yaml.safe_dump(described))
    return folder / "data.yaml"


class Detector:
    """A trained detector.

    Args:
        checkpoint: from `train_detector`.
        device: "cpu" or a CUDA device's number.
        settings: folder for the package's settings.
    """

    def __init__(self, checkpoint: Path, *, device: str, settings: Path) -> None:
        self.model = ultralytics(settings).YOLO(checkpoint)
        self.device = device

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(item.numel() for item in self.model.model.parameters())

    def detect(self, sources: list[NDArray[np.uint8]], *, size: int) -> NDArray[np.float64]:
        """The most confident box of each class on each picture.

        Returns:
            (pictures, classes, 3): relative row and column of its centre, NaN without one, and its confidence.
        """
        found = np.full((len(sources), len(self.model.names), 3), np.nan)
        found[:, :, 2] = 0.0
        for start in range(0, len(sources), DETECT_BATCH):
            block = [cv2.cvtColor(item, cv2.COLOR_GRAY2BGR) for item in sources[start : start + DETECT_BATCH]]
            results = self.model.predict(block, imgsz=size, conf=CONFIDENCE, device=self.device, verbose=False)
            for index, result in enumerate(results, start=start):
                boxes = np.column_stack(
                    [result.boxes.xywhn.cpu().numpy(), result.boxes.cls.cpu().numpy(), result.boxes.conf.cpu().numpy()]
                )
                for column, row, _, _, target, confidence in boxes:
                    if confidence > found[index, int(target), 2]:
                        found[index, int(target)] = row, column, confidence
        return found
