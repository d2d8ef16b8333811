"""Instructions a pixel, flash, state and stack of each network to download, on an emulated Cortex-M4 and M7.

``make device`` cross-compiles the C of every archive, feeds it the part of a scene that lies beside it and a
made-up scene, compares every class with that of the exported file, and writes ``book/results/device.json``.
It needs qemu-system-arm and arm-none-eabi-gcc, and counts instructions, not cycles.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
CORES = {"cortex-m4": "mps2-an386", "cortex-m7": "mps2-an500"}
LEVELS = "-Os", "-O2", "-O3"
TOOLS = "qemu-system-arm", "arm-none-eabi-gcc"
LINES, WIDTH = 20, 64  # of the made-up scene, on which instructions are counted
SCENE = """\
#define LINES {lines}
#define WIDTH {width}
static const {kind} scene[] = {{{values}}};
static const uint8_t want[] = {{{classes}}};
"""


def missing() -> str:
    """Return the tools that are not there."""
    return ", ".join(tool for tool in TOOLS if not shutil.which(tool))


def made_up(model: bytes, header: str) -> str:
    """Return a scene of smooth and noisy values over the range that was learnt, and its classes, as C."""
    from hsilib.deploy.predict import session

    kind, low, high = re.search(r"Values: (\w+), (-?\d+) to (-?\d+)", header).groups()
    bands, gain = (int(re.search(rf"_{word} (\d+)", header)[1]) for word in ("BANDS", "GAIN"))
    rng, span = np.random.default_rng(0), int(high) - int(low)
    smooth = rng.normal(size=(LINES, WIDTH, 4)).cumsum(0).cumsum(1) @ rng.normal(size=(4, bands)).cumsum(1)
    smooth = (smooth - smooth.min()) / np.ptp(smooth) + 0.05 * rng.normal(size=smooth.shape)
    cube = np.clip(np.rint(int(low) + span * smooth), int(low), int(high)).astype(np.int64)
    classes = session(model).run(["map"], {"cube": (cube / gain).astype(np.float32)})[0]
    listed = {"values": cube, "classes": classes}
    listed = {key: ",".join(map(str, array.ravel().tolist())) for key, array in listed.items()}
    return SCENE.format(kind=kind, lines=LINES, width=WIDTH, **listed)


def emulate(folder: Path, core: str, level: str, scene: str) -> dict[str, int]:
    """Compile network.c of a folder for a core, let it classify a scene, and return what was counted."""
    flags = [f"-mcpu={core}", "-mthumb", level]
    warnings = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-pedantic"]
    (folder / "scene.h").write_text(scene)
    code, image = folder / "network.o", folder / "network.elf"
    gcc = TOOLS[1]
    subprocess.run([gcc, *flags, *warnings, "-c", folder / "network.c", "-o", code], check=True)
    board = ["-nostartfiles", "-I", folder, "-T", HERE / "board.ld", HERE / "start.c", HERE / "harness.c"]
    subprocess.run([gcc, *flags[:2], "-O2", *board, code, "-o", image], check=True)
    qemu = [TOOLS[0], "-M", CORES[core], "-icount", "shift=0", "-nographic", "-kernel", image]
    qemu += ["-semihosting-config", "enable=on,target=native"]
    done = subprocess.run(qemu, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
    told = re.findall(r"^(\w+) (\d+)$", done.stdout + done.stderr, re.M)  # of the board, on either
    counts = {word: int(count) for word, count in told}
    size = subprocess.run([gcc.replace("gcc", "size"), code], capture_output=True, text=True, check=True)
    text, data, bss = map(int, size.stdout.split()[6:9])
    return counts | {"flash": text + data, "static": data + bss}


def measure(archive: Path, model: bytes) -> dict:
    """Return {core: {level: what was counted}} of the C of an archive."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        with zipfile.ZipFile(archive) as file:
            file.extractall(folder)
        header, part = (folder / "network.h").read_text(), (folder / "network_scene.h").read_text()
        scene, found = made_up(model, header), {}
        for core in CORES:
            found[core] = {}
            for level in LEVELS:
                real, counts = emulate(folder, core, level, part), emulate(folder, core, level, scene)
                keys = "instructions", "flash", "static", "stack"
                counts = {key: counts[key] for key in keys} | {"wrong": real["wrong"] + counts["wrong"]}
                found[core][level] = counts
                print(f"{archive.stem} {core} {level}: {counts}", flush=True)
    fixed, each = map(int, re.search(r"\(size_t\)(\d+) \+ \(size_t\)(\d+)", header).groups())
    return found | {"state": {str(width): (fixed + each * width + 3) // 4 * 4 for width in (64, 145)}}


def main() -> int:
    """Measure all networks to download, and write what came out."""
    if missing():
        debian = "Debian: qemu-system-arm gcc-arm-none-eabi libnewlib-arm-none-eabi"
        print(f"skipped: {missing()} not here ({debian})")
        return 0
    models, found = HERE.parents[1] / "models", {}
    for archive in sorted(models.glob("*-c.zip")):
        name = archive.name.removesuffix("-c.zip")
        found[name] = measure(archive, (models / f"{name}.onnx").read_bytes())
    says = [subprocess.run([tool, "--version"], capture_output=True, text=True).stdout for tool in TOOLS]
    versions = [text.partition("\n")[0] for text in says]
    about = {"pixels a line": WIDTH, "lines": LINES, "tools": versions, "networks": found}
    (HERE.parents[1] / "results" / "device.json").write_text(json.dumps(about, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
