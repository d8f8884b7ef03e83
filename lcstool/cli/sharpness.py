"""`lcstool sharpness`: gradient norm and extreme Hessian eigenvalues of the training loss."""

from typing import TYPE_CHECKING

from lcstool.cli.app import app
from lcstool.cli.console import new_table
from lcstool.cli.options import AsJson, closing, configured
from lcstool.cli.outputs import Outputs
from lcstool.stages.sharpness.config import SharpnessConfig

if TYPE_CHECKING:
    from rich.console import Console

    from lcstool.stages.sharpness.result import SharpnessResult

EPILOG = closing(
    "lcstool train --arch vanilla-cnn --optim sgd -o - | lcstool sharpness - --train-size 2000",
    columns="residual: length of H v - value * v, for the eigenvector v that was found, of length 1.",
)


@app.command(epilog=EPILOG)
@configured(SharpnessConfig)
def sharpness(
    config: SharpnessConfig,
    as_json: AsJson = False,
) -> None:
    """Measure how sharp the training loss is: gradient norm, largest and smallest Hessian eigenvalue.

    Do not compare the values of a CNN with those of its embedding directly. Their weights differ: if Phi takes those of
    the CNN to those of the embedding, and H is the Hessian of the embedding, then H_CNN = Phi^T H Phi.
    """
    from lcstool.stages.sharpness.stage import sharpness as run_stage

    outputs = Outputs(as_json=as_json)
    outputs.publish(run_stage(config), _show)


def _show(result: "SharpnessResult", out: "Console") -> None:
    title = f"Training loss over {result.num_images:,} images, {result.subspace} weights"
    table = new_table(title, "", "value", "residual")
    table.add_row("loss", f"{result.train_loss:.6g}", "-")
    table.add_row("gradient norm", f"{result.gradient_norm:.6g}", "-")
    for name, found in (("largest", result.largest), ("smallest", result.smallest)):
        table.add_row(f"{name} Hessian eigenvalue", f"{found.value:.6g}", f"{found.residual:.2g}")
    out.print(table)
    out.print(f"{result.num_products} Hessian-vector products, {result.num_parameters:,} parameters")
