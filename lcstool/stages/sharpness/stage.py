"""The sharpness stage: the full gradient of the training loss, and its extreme Hessian eigenvalues.

Ref: d'Ascoli et al. 2019 (arXiv 1906.06766), section 4.2 and Fig. 3.
"""

import numpy as np
import torch
from torch import Tensor

from lcstool.checkpoint import open_checkpoint
from lcstool.curvature import LossSurface, extreme_eigenvalues
from lcstool.devices import memory_errors, require_memory, resolve_device
from lcstool.images import images_of, input_map
from lcstool.models import ModelSpec, load_model
from lcstool.models.embedding.subspace import Subspace
from lcstool.record import trained_loss
from lcstool.stages.sharpness.config import SharpnessConfig
from lcstool.stages.sharpness.result import SharpnessResult


def sharpness(config: SharpnessConfig) -> SharpnessResult:
    """Measure the sharpness of the training loss at a model file.

    Raises:
        CheckFailedError: Lanczos did not settle.
        LcsError: for everything else a user can mend.
    """
    with memory_errors():
        device = resolve_device(config.device)
        checkpoint = open_checkpoint(config.file)
        header = checkpoint.require_kind("model")
        model = load_model(checkpoint)
        dtype = torch.float64 if next(model.parameters()).dtype == torch.float64 else torch.float32
        model.to(device, dtype)
        spec = ModelSpec.from_json(header.model or {}, checkpoint.where)
        images = images_of(
            config.dataset,
            config.data_dir,
            spec,
            header,
            checkpoint.where,
            test=False,
            train_size=config.train_size,
            seed=config.seed,
        )
        prepare = input_map(header.input, spec, checkpoint.where, device, dtype)
        project = None
        if config.subspace != "all":
            subspace = Subspace(model)

            def project(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
                return subspace.project(tensors, config.subspace)

        loss_name = config.loss or trained_loss(header.history)
        split = images.dataset.train.to(device)
        num_parameters = sum(parameter.numel() for parameter in model.parameters())
        # Lanczos keeps some twenty vectors in float64 on the host.
        require_memory(
            8 * 24 * num_parameters, torch.device("cpu"), f"Lanczos on {num_parameters:,} parameters"
        )
        surface = LossSurface(model, split, prepare, loss_name, config.batch_size, project)
        loss, gradient = surface.gradient()
        smallest, largest = extreme_eigenvalues(surface, config.max_iterations, config.tolerance, config.seed)
        return SharpnessResult(
            file=config.file,
            subspace=config.subspace,
            dataset=images.used,
            loss=loss_name,
            train_loss=loss,
            gradient_norm=float(np.linalg.norm(gradient)),
            largest=largest,
            smallest=smallest,
            num_products=surface.num_products,
            num_parameters=surface.size,
            num_images=len(split),
        )
