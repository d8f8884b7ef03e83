"""Apply to each image of a batch the operation that was chosen for it.

The batch is sorted by operation, worked on one operation at a time, and put back in order. The sort is done on the
host, so that the host knows how long each operation's slice is.

Shape suffixes: B images of the batch, N images of one family, C channels, H rows, W columns, V = 256 values.
"""

import torch
from torch import Tensor

from lcstool.data.augment.blend import color, sharpness
from lcstool.data.augment.cutout import cutout, squares
from lcstool.data.augment.geometry import affine, fixed_point, source_matrices
from lcstool.data.augment.lookup import NUM_VALUES, TABLES, apply_tables
from lcstool.data.augment.operations import GEOMETRY, POINT, Choice, Op
from lcstool.devices import send


def apply_choice(x_BCHW: Tensor, choice: Choice) -> Tensor:
    """Applies to each image its chosen operation.

    Args:
        x_BCHW: uint8 images on any device.
        choice: The operations, on the CPU.

    Returns:
        New images, in the same order.

    Ref: Pillow's Image.transform, Image.rotate, ImageOps and ImageEnhance, which every operation reproduces
    pixel for pixel on images of one and three channels.
    """
    order_B = choice.op_B.argsort(stable=True)
    run = _SortedRun(x_BCHW, choice, order_B)
    run.apply_geometry()
    run.apply_tables()
    run.apply_blends()
    run.apply_cutout()
    return run.x_BCHW.index_select(0, run.send(order_B.argsort()))


class _SortedRun:
    """Images in the order of their operations, worked on in place."""

    def __init__(self, x_BCHW: Tensor, choice: Choice, order_B: Tensor) -> None:
        self.device = x_BCHW.device
        self.x_BCHW = x_BCHW.index_select(0, self.send(order_B))
        self.op_B = choice.op_B[order_B]
        self.magnitude_B = choice.magnitude_B[order_B]
        self.centre_B2 = choice.centre_B2[order_B]
        self.sent_magnitude_B = self.send(self.magnitude_B)
        # Images of an operation begin at starts[op] and end before starts[op + 1].
        self.starts: list[int] = torch.searchsorted(self.op_B, torch.arange(len(Op) + 1)).tolist()

    def send(self, small: Tensor) -> Tensor:
        return send(small, self.device)

    def slice_of(self, first: int, last: int) -> slice:
        return slice(self.starts[first], self.starts[last + 1])

    def apply_geometry(self) -> None:
        part = self.slice_of(GEOMETRY[0], GEOMETRY[-1])
        if part.start < part.stop:
            height, width = self.x_BCHW.shape[2:]
            matrix_N6 = source_matrices(self.op_B[part], self.magnitude_B[part], height, width)
            self.x_BCHW[part] = affine(self.x_BCHW[part], self.send(fixed_point(matrix_N6)))

    def apply_tables(self) -> None:
        part = self.slice_of(POINT[0], POINT[-1])
        if part.start < part.stop:
            x_NCHW = self.x_BCHW[part]
            table_BCV = self.x_BCHW.new_empty((part.stop, x_NCHW.shape[1], NUM_VALUES))
            for op, table in TABLES.items():
                same = self.slice_of(op, op)
                if same.start < same.stop:
                    table_BCV[same] = table(self.x_BCHW[same], self.sent_magnitude_B[same, None, None])
            self.x_BCHW[part] = apply_tables(x_NCHW, table_BCV[part])

    def apply_blends(self) -> None:
        for op, enhance in ((Op.COLOR, color), (Op.SHARPNESS, sharpness)):
            part = self.slice_of(op, op)
            if part.start < part.stop:
                factor_N111 = self.sent_magnitude_B[part, None, None, None].to(torch.float32)
                self.x_BCHW[part] = enhance(self.x_BCHW[part], factor_N111)

    def apply_cutout(self) -> None:
        part = self.slice_of(Op.CUTOUT, Op.CUTOUT)
        if part.start < part.stop:
            height, width = self.x_BCHW.shape[2:]
            square_N4 = squares(self.magnitude_B[part], self.centre_B2[part], height, width)
            self.x_BCHW[part] = cutout(self.x_BCHW[part], self.send(square_N4))
