"""The wheel holds, beside both packages, what chapters need outside of a checkout: see ``files.project``."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

TRAVELS = """_config.yml notebooks/[0-9]*.md book/references.bib book/glossary.md book/study.toml
book/paper/*.csv book/_static/* book/_ext/*.py""".split()


class Build(build_py):
    """It copies the chapters into ``hsilib/project``; an editable install reads them where they are."""

    def run(self) -> None:
        super().run()
        for file in (file for pattern in TRAVELS for file in Path().glob(pattern)):
            if file.is_file() and not self.editable_mode:
                target = Path(self.build_lib) / "hsilib" / "project" / file
                self.mkpath(str(target.parent))
                self.copy_file(str(file), str(target))


setup(cmdclass={"build_py": Build})
