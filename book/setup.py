"""The wheel of the book: its code, the chapters outside of a checkout, and the version of the library."""

import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
TRAVELS = """_config.yml notebooks/[0-9]*.md book/references.bib book/glossary.md book/study.toml
book/page.template book/splits.txt book/declared/*.toml book/paper/*.csv book/_static/*
book/_ext/*.py""".split()


class Build(build_py):
    """It copies the chapters into ``hsibook/project``; an editable install reads them where they are."""

    def run(self) -> None:
        super().run()
        for file in (file for pattern in TRAVELS for file in ROOT.glob(pattern)):
            if file.is_file() and not self.editable_mode:
                target = Path(self.build_lib) / "hsibook" / "project" / file.relative_to(ROOT)
                self.mkpath(str(target.parent))
                self.copy_file(str(file), str(target))


setup(version=VERSION, install_requires=[f"hsilib[book]=={VERSION}"], cmdclass={"build_py": Build})
