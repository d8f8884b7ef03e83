"""The GPU kernel of beta-LASSO's step, in Triton. In a file of its own, since mypy does not know Triton's types.

Ref: Neyshabur 2020 (arXiv 2007.13657), Algorithm 1.
"""

# mypy: ignore-errors

import triton
import triton.language as tl


@triton.jit
def one_pass(
    theta_ptr,
    gradient_ptr,
    shadow_ptr,
    lr_ptr,
    counts_ptr,
    lambda_,
    threshold,
    size,
    HAS_SHADOW: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Steps the weights, and counts those that are killed, regrown and non-zero.

    Of n programs, program i steps the blocks i, i + n, i + 2n, ... and writes three counts. The operations are those of
    `step_tensor` in the same order, and each result is rounded: launch it with `enable_fp_fusion=False`.
    """
    lr = tl.load(lr_ptr)
    killed = tl.zeros((BLOCK,), tl.int32)
    regrown = tl.zeros((BLOCK,), tl.int32)
    nonzeros = tl.zeros((BLOCK,), tl.int32)
    program = tl.program_id(0)
    for block in range(program, tl.cdiv(size, BLOCK), tl.num_programs(0)):
        place = tl.cast(block, tl.int64) * BLOCK + tl.arange(0, BLOCK)
        inside = place < size
        old = tl.load(theta_ptr + place, mask=inside, other=0.0)
        gradient = tl.load(gradient_ptr + place, mask=inside, other=0.0).to(tl.float32)
        sign = tl.where(old > 0, 1.0, tl.where(old < 0, -1.0, 0.0))
        moved = old - (sign * lambda_ + gradient) * lr
        kept = tl.where(tl.abs(moved) < threshold, 0.0, moved)  # NaN is kept
        tl.store(theta_ptr + place, kept, mask=inside)
        if HAS_SHADOW:
            tl.store(shadow_ptr + place, kept.to(tl.bfloat16), mask=inside)
        killed += ((old != 0) & (kept == 0)).to(tl.int32)
        regrown += ((old == 0) & (kept != 0) & inside).to(tl.int32)
        nonzeros += ((kept != 0) & inside).to(tl.int32)
    tl.store(counts_ptr + program * 3, tl.sum(killed).to(tl.int64))
    tl.store(counts_ptr + program * 3 + 1, tl.sum(regrown).to(tl.int64))
    tl.store(counts_ptr + program * 3 + 2, tl.sum(nonzeros).to(tl.int64))
