"""Kernels that are forked from a process that has loaded what pages load, so that each starts at once."""

import multiprocessing
import os
from typing import Any

from jupyter_client.manager import AsyncKernelManager

ALIKE = multiprocessing.get_context("forkserver" if hasattr(os, "fork") else "spawn")
LOADED = "ipykernel.kernelapp", "hsibook.chapter", "seaborn", "scipy.stats"


def _serve(words, folder, variables):
    """Be a kernel."""
    import matplotlib
    from ipykernel.kernelapp import launch_new_instance

    # pyplot was loaded before there was a kernel: without this no figure would be shown
    matplotlib.rcParams["backend"] = "module://matplotlib_inline.backend_inline"
    if hasattr(os, "setsid"):  # so that what it starts ends with it
        os.setsid()
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(folder)
    launch_new_instance(argv=words)


class Process(ALIKE.Process):
    """A process as Jupyter expects one, that is with the words of ``subprocess.Popen``."""

    stdin = stdout = stderr = None

    def poll(self) -> int | None:
        self.join(0)
        return self.exitcode

    def wait(self) -> int | None:
        self.join()
        return self.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)


class Forked(AsyncKernelManager):
    """Starts the kernel of a page, for papermill and nbclient."""

    async def _async_launch_kernel(self, kernel_cmd: list[str], **kw: Any) -> None:
        ALIKE.set_forkserver_preload(list(LOADED))
        words = kernel_cmd[kernel_cmd.index("-f"):]
        place = self.provisioner
        place.process = Process(target=_serve, args=(words, kw.get("cwd") or os.getcwd(), kw["env"]))
        place.process.start()
        place.pid = place.pgid = place.process.pid
        self._reconcile_connection_info(place.connection_info)
