"""`lcstool sharpness`: gradient norm and extreme Hessian eigenvalues of the training loss."""

from dataclasses import asdict

from lcstool.cli import app
from lcstool.cli.console import new_table, print_json, stdout
from lcstool.cli.options import AsJson, closing, configured
from lcstool.stages.sharpness.config import SharpnessConfig

EPILOG = closing(
    "lcstool train --arch vanilla-cnn --optim sgd -o - | lcstool sharpness - --train-size 2000",
    columns="residual: |H v - value v| for the eigenvector v that was found, of length 1.",
)


@app.command(epilog=EPILOG)
@configured(SharpnessConfig)
def sharpness(
    config: SharpnessConfig,
    as_json: AsJson = False,
) -> None:
    """Measure how sharp the training loss is: gradient norm, largest and smallest Hessian eigenvalue.

    A convolutional network and its embedding are measured in different units: H_CNN = Phi^T H Phi.
    """
    from lcstool.stages.sharpness.stage import sharpness as run_stage

    result = run_stage(config)
    if as_json:
        print_json({"file": config.file, "subspace": config.subspace} | asdict(result))
        return
    title = f"Training loss over {result.num_images:,} images, {config.subspace} weights"
    table = new_table(title, "", "value", "residual")
    table.add_row("loss", f"{result.loss:.6g}", "-")
    table.add_row("gradient norm", f"{result.gradient_norm:.6g}", "-")
    table.add_row(
        "largest Hessian eigenvalue", f"{result.largest.value:.6g}", f"{result.largest.residual:.2g}"
    )
    table.add_row(
        "smallest Hessian eigenvalue", f"{result.smallest.value:.6g}", f"{result.smallest.residual:.2g}"
    )
    stdout().print(table)
    stdout().print(f"{result.num_products} Hessian-vector products, {result.num_parameters:,} parameters")
