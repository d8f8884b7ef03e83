"""The step of beta-LASSO and its counts in one pass over memory, on the CPU: thirty lines of C, compiled at first use.

A C compiler takes a fifth of a second; torch.compile takes a hundred times as long, and its code passes over memory
twice. The C code does the operations of `step_tensor` in the same order and rounds each result, so the results have the
same bits. The compiled library is in a private folder that is removed once it is loaded, so no files are left behind.

Ref: Neyshabur 2020 (arXiv 2007.13657), Algorithm 1.
"""

import ctypes
import functools
import os
import shlex
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor, nn

from lcstool.optim.step import Rate

# It goes in blocks of 4096 so that counters can have as few bits as the weights: then the compiler keeps both in vector
# registers. The comparison is written so that it keeps NaN, as hardshrink does.
SOURCE = r"""
#include <math.h>
#include <stdint.h>
#define STEP(NAME, REAL, COUNT, ABS)                                                                        \
    void NAME(REAL *restrict theta, const REAL *restrict gradient, int64_t size, double lr_, double lambda_,\
              double threshold_, int64_t *restrict counts) {                                                \
        const REAL lr = (REAL)lr_, lambda = (REAL)lambda_, threshold = (REAL)threshold_;                    \
        int64_t before = 0, after = 0, both = 0;                                                            \
        for (int64_t start = 0; start < size; start += 4096) {                                              \
            const int length = size - start < 4096 ? (int)(size - start) : 4096;                            \
            REAL *restrict t = theta + start;                                                               \
            const REAL *restrict g = gradient + start;                                                      \
            COUNT b = 0, a = 0, k = 0;                                                                      \
            for (int i = 0; i < length; i++) {                                                              \
                const REAL old = t[i];                                                                      \
                const REAL sign = old > 0 ? (REAL)1 : (old < 0 ? (REAL)-1 : (REAL)0);                       \
                const REAL moved = old - (sign * lambda + g[i]) * lr;                                       \
                const REAL kept = ABS(moved) < threshold ? (REAL)0 : moved;                                 \
                const COUNT was = old != 0, is = kept != 0;                                                 \
                b += was; a += is; k += was & is;                                                           \
                t[i] = kept;                                                                                \
            }                                                                                               \
            before += b; after += a; both += k;                                                             \
        }                                                                                                   \
        counts[0] = before - both; counts[1] = after - both; counts[2] = after;                             \
    }
STEP(step_float32, float, int32_t, fabsf)
STEP(step_float64, double, int64_t, fabs)
"""
_FLAGS = (
    "-O3",
    "-march=native",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-shared",
    "-fPIC",
)
_TIMEOUT_S = 60
_PART = 1 << 20  # at least so many weights for each thread


class OnePassStep:
    """`counting_step` for the tensors it `takes`: contiguous float32 or float64 ones on the CPU.

    Raises:
        OSError: if there is no C compiler, or it fails, or its library cannot be loaded.
    """

    dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)

    def __init__(self) -> None:
        library = _compile(SOURCE)
        self._functions = {}
        for dtype in self.dtypes:
            function = library[f"step_{str(dtype).removeprefix('torch.')}"]
            pointer, real = ctypes.c_void_p, ctypes.c_double
            function.argtypes = [pointer, pointer, ctypes.c_int64, real, real, real, pointer]
            function.restype = None
            self._functions[dtype] = function

    def takes(self, theta: Tensor, gradient: Tensor, shadow: Tensor | None = None) -> bool:
        """Whether the C code can work on the memory of these tensors; it writes no shadow."""
        return (
            shadow is None
            and type(theta) in (Tensor, nn.Parameter)
            and type(gradient) is Tensor
            and theta.device.type == gradient.device.type == "cpu"
            and theta.layout == gradient.layout == torch.strided
            and theta.dtype in self.dtypes
            and theta.dtype == gradient.dtype
            and theta.shape == gradient.shape
            and theta.is_contiguous()
            and gradient.is_contiguous()
            and not gradient.is_neg()
            and theta.untyped_storage().data_ptr() != gradient.untyped_storage().data_ptr()
        )

    def __call__(
        self,
        theta: Tensor,
        gradient: Tensor,
        lr: Rate,
        lambda_: float,
        beta: float,
        shadow: Tensor | None = None,
    ) -> Tensor:
        rate = float(lr)
        function, width = self._functions[theta.dtype], theta.element_size()
        begin, other, size = theta.data_ptr(), gradient.data_ptr(), theta.numel()
        num_parts = max(1, min(torch.get_num_threads(), size // _PART))
        length = -(-size // num_parts)
        counts_P3 = torch.zeros(num_parts, 3, dtype=torch.int64)

        def run(part: int) -> None:
            start = part * length
            end = min(size, start + length)
            offset = start * width
            row = counts_P3.data_ptr() + part * 24
            function(begin + offset, other + offset, end - start, rate, lambda_, beta * lambda_, row)

        if num_parts == 1:
            run(0)
        else:  # ctypes lets other threads run meanwhile
            list(_threads(num_parts, os.getpid()).map(run, range(num_parts)))
        torch.autograd.graph.increment_version(
            theta
        )  # so that autograd sees the change, as of any in-place operation
        return counts_P3.sum(dim=0)


@functools.cache
def _threads(count: int, process: int) -> ThreadPoolExecutor:
    """A pool of threads for this process; a forked process needs its own, since threads are not copied by a fork."""
    return ThreadPoolExecutor(count, thread_name_prefix="beta-lasso")


def _compile(source: str) -> ctypes.CDLL:
    command = (
        shlex.split(os.environ.get("CC", ""))
        or [found for name in ("cc", "gcc", "clang") if (found := shutil.which(name))][:1]
    )
    if not command:
        raise OSError("no C compiler (cc, gcc or clang) is on the path")
    with tempfile.TemporaryDirectory(prefix="lcstool-") as folder:
        code, library = Path(folder) / "step.c", Path(folder) / "step.so"
        code.write_text(source)
        try:
            subprocess.run(
                [*command, *_FLAGS, "-o", str(library), str(code), "-lm"],
                check=True,
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                timeout=_TIMEOUT_S,
            )
        except subprocess.CalledProcessError as error:
            lines = error.stderr.strip().splitlines()
            raise OSError(f"{command[0]} failed: {lines[0] if lines else error.returncode}") from None
        except subprocess.TimeoutExpired:
            raise OSError(f"{command[0]} took more than {_TIMEOUT_S} s") from None
        return ctypes.CDLL(str(library))
