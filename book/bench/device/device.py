"""Instructions a pixel, flash, state and stack of each network to download, on an emulated Cortex-M4 and M7.

``make device`` cross-compiles the C of every archive, feeds it the part of a scene that lies beside it and a
made-up scene, compares every class with that of the exported file, and writes ``book/results/device.json``;
also what a vote takes, and what it takes to check weights and mend them.  ``device.py FOLDER`` counts the
layers of Lens in the CMSIS-NN of a folder instead.  It needs qemu-system-arm and arm-none-eabi-gcc, and
counts instructions, not cycles.
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


def missing() -> str:
    """Return the tools that are not there."""
    return ", ".join(tool for tool in TOOLS if not shutil.which(tool))


def made_up(model: bytes, header: str) -> str:
    """Return a scene of smooth and noisy values over the range that was learnt, and its classes, as C."""
    from hsilib.deploy.predict import session
    from hsilib.deploy.written import filled, listed

    kind, low, high = re.search(r"Values: (\w+), (-?\d+) to (-?\d+)", header).groups()
    bands, gain = (int(re.search(rf"_{word} (\d+)", header)[1]) for word in ("BANDS", "GAIN"))
    rng, span = np.random.default_rng(0), int(high) - int(low)
    smooth = rng.normal(size=(LINES, WIDTH, 4)).cumsum(0).cumsum(1) @ rng.normal(size=(4, bands)).cumsum(1)
    smooth = (smooth - smooth.min()) / np.ptp(smooth) + 0.05 * rng.normal(size=smooth.shape)
    cube = np.clip(np.rint(int(low) + span * smooth), int(low), int(high)).astype(np.int64)
    classes = session(model).run(["map"], {"cube": (cube / gain).astype(np.float32)})[0]
    words = dict(kind=kind, lines=LINES, width=WIDTH, scene="a made-up scene", model="")
    words |= dict(values=listed(cube.ravel().tolist()), labels=listed(classes.ravel().tolist()))
    return filled("scene.h", "network", **words)


def board(core: str, folder: Path, *words: Path | str) -> dict[str, int]:
    """Compile a program for a core, let it run, and return what it says."""
    image = folder / "program.elf"
    start = [f"-mcpu={core}", "-mthumb", "-nostartfiles", "-T", HERE / "board.ld", HERE / "start.c"]
    subprocess.run([TOOLS[1], *start, *words, "-o", image], check=True)
    qemu = [TOOLS[0], "-M", CORES[core], "-icount", "shift=0", "-nographic", "-kernel", image]
    qemu += ["-semihosting-config", "enable=on,target=native"]
    done = subprocess.run(qemu, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)
    told = re.findall(r"^(\w+) (\d+)$", done.stdout + done.stderr, re.M)  # of the board, on either
    return {word: int(count) for word, count in told}


def compiled(core: str, level: str, code: Path, out: Path) -> dict[str, int]:
    """Compile a file for a core, and return its bytes of flash and of static memory."""
    warnings = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-pedantic"]
    command = [TOOLS[1], f"-mcpu={core}", "-mthumb", level, *warnings, "-c", code, "-o", out]
    subprocess.run(command, check=True)
    words = [TOOLS[1].replace("gcc", "size"), out]
    size = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    text, data, bss = map(int, size.split()[6:9])
    return {"flash": text + data, "static": data + bss}


def emulate(folder: Path, core: str, level: str, scene: str) -> dict[str, int]:
    """Compile network.c of a folder for a core, let it classify a scene, and return what was counted."""
    (folder / "scene.h").write_text(scene)
    sizes = compiled(core, level, folder / "network.c", folder / "network.o")
    return board(core, folder, "-O2", "-I", folder, HERE / "harness.c", folder / "network.o") | sizes


def mending() -> dict[str, int]:
    """Return what a CRC and a golden copy take: bytes of code, and instructions of a check of 1,024 bytes."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        code = compiled("cortex-m4", "-O2", HERE / "mend.c", folder / "mend.o")["flash"]
        return board("cortex-m4", folder, "-O2", HERE / "mended.c", folder / "mend.o") | {"code": code}


def voting() -> dict[str, int]:
    """Return what a vote of 9 x 9 takes: instructions a pixel, bytes of code and of stack."""
    from hsilib.deploy.c99 import sizes

    header = HERE.parents[2] / "examples" / "onboard" / "vote.h"
    with tempfile.TemporaryDirectory() as place:
        folder, code = Path(place), Path(place) / "vote.c"
        counted = board("cortex-m4", folder, "-O3", "-I", header.parent, HERE / "voted.c")
        code.write_text(header.read_text().replace("static inline ", ""))
        return counted | {key: sizes(code)[key] for key in ("flash", "stack")}


def apart(library: Path) -> dict[str, int]:
    """Return the instructions a pixel of each layer of Lens in the kernels of CMSIS-NN."""
    kinds = "ConvolutionFunctions/*_s8*.c", "PoolingFunctions/*_s8.c", "NNSupportFunctions/*_[sq][0-9]*.c"
    sources = [path for kind in kinds for path in sorted((library / "Source").glob(kind))]
    words = ["-O3", "-w", "-I", library / "Include", "-ffunction-sections", "-Wl,--gc-sections", *sources]
    with tempfile.TemporaryDirectory() as place:
        return board("cortex-m4", Path(place), HERE / "cmsis.c", *words)


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
    """Measure all networks to download, or the library in a folder, and write what came out."""
    if missing():
        debian = "Debian: qemu-system-arm gcc-arm-none-eabi libnewlib-arm-none-eabi"
        print(f"skipped: {missing()} not here ({debian})")
        return 0
    path, models = HERE.parents[1] / "results" / "device.json", HERE.parents[1] / "models"
    told = json.loads(path.read_text())
    if sys.argv[1:]:
        told["CMSIS-NN"] = apart(Path(sys.argv[1]))
    else:
        says = [subprocess.run([tool, "--version"], capture_output=True, text=True).stdout for tool in TOOLS]
        told |= {"pixels a line": WIDTH, "lines": LINES, "tools": [text.partition("\n")[0] for text in says]}
        archives = {path.name.removesuffix("-c.zip"): path for path in sorted(models.glob("*-c.zip"))}
        told["networks"] = {
            name: measure(path, (models / f"{name}.onnx").read_bytes()) for name, path in archives.items()
        }
        told |= {"mending": mending(), "vote": voting()}
    path.write_text(json.dumps(told, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
