"""What pyproject.toml cannot express: the recipes in configs/ go into the wheel as adaptface_jax/recipes."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithRecipes(build_py):
    """An editable install reads configs/ itself."""

    def run(self) -> None:
        if self.editable_mode:
            super().run()
            return
        shutil.rmtree(self.build_lib, ignore_errors=True)  # deleted files would survive from an older build
        super().run()
        folder = Path(self.build_lib) / "adaptface_jax" / "recipes"
        self.mkpath(str(folder))
        for file in Path("configs").glob("*.py"):
            self.copy_file(str(file), str(folder / file.name))


setup(cmdclass={"build_py": BuildWithRecipes})
