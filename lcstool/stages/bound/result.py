"""What was found of a network's description and of the bounds that follow from it."""

from dataclasses import dataclass
from typing import Any

from lcstool.bounds import FORMS, Evidence, affordable_bits, error_bound


@dataclass(frozen=True)
class Size:
    """A network as a vector of values.

    Attributes:
        num_parameters: Entries n that could be non-zero.
        num_nonzeros: Of them.
        num_distinct: Different values k, zero among them.
        value_bits: Bits b of one value.
    """

    num_parameters: int
    num_nonzeros: int
    num_distinct: int
    value_bits: int


@dataclass(frozen=True)
class CodeBound:
    """One code's description of the network.

    Attributes:
        code: Its name.
        terms: Bits by what they are for, by the code's formula.
        formula_bits: Their sum.
        measured_bits: Length of the real bit string, decoded and compared; None where it was not made.
        choice_bits: Paid for having chosen among several descriptions.
        affordable_nonzeros: The most non-zeros of such values whose bound would be below chance; None where the code
            has no formula for it.
    """

    code: str
    terms: dict[str, float]
    formula_bits: float
    measured_bits: int | None
    choice_bits: int
    affordable_nonzeros: int | None

    @property
    def bits(self) -> float:
        """What counts: the measured length where there is one, and the choice."""
        length = self.formula_bits if self.measured_bits is None else self.measured_bits
        return length + self.choice_bits

    def bounds(self, evidence: Evidence) -> dict[str, float]:
        """By form: the printed one takes the formula as it stands in the paper."""
        return {
            form: error_bound(self.formula_bits if form == "printed" else self.bits, evidence, form)
            for form in FORMS
        }

    def to_json(self, evidence: Evidence, chance: float) -> dict[str, Any]:
        bounds = self.bounds(evidence)
        return {
            "code": self.code,
            "terms_bits": self.terms,
            "formula_bits": self.formula_bits,
            "measured_bits": self.measured_bits,
            "choice_bits": self.choice_bits,
            "bits": self.bits,
            "bound_frac": bounds,
            "is_vacuous": {form: bound >= chance for form, bound in bounds.items()},
            "affordable_bits": None
            if evidence.train_error >= chance
            else affordable_bits(chance, evidence, "kl"),
            "affordable_nonzeros": self.affordable_nonzeros,
        }


@dataclass(frozen=True)
class Candidate:
    """One way to make the network smaller.

    Attributes:
        prune: Share of the weights pruned.
        bits: Of a value.
        quantizer: How values were rounded: `plain` (not at all), `half`, or a grid.
        code: The shortest code.
        code_bits: Its measured length, without the choice.
        train_error, test_error: Of the smaller network.
        bound: The kl form, the choice paid.
    """

    prune: float
    bits: int
    quantizer: str
    code: str
    code_bits: int
    train_error: float
    test_error: float
    bound: float


@dataclass(frozen=True)
class Search:
    """All candidates, and what choosing among them costs.

    Attributes:
        candidates: In the order tried.
        best: Index of the smallest bound.
        choice_bits: ceil(log2) of the number of candidates and codes together.
    """

    candidates: tuple[Candidate, ...]
    best: int
    choice_bits: int

    def pareto(self) -> tuple[int, ...]:
        """Candidates that no other beats in both length and training error, shortest first."""
        order = sorted(
            range(len(self.candidates)),
            key=lambda i: (self.candidates[i].code_bits, self.candidates[i].train_error),
        )
        front: list[int] = []
        for index in order:
            if not front or self.candidates[index].train_error < self.candidates[front[-1]].train_error:
                front.append(index)
        return tuple(front)

    def to_json(self) -> dict[str, Any]:
        return {
            "choice_bits": self.choice_bits,
            "best": self.best,
            "pareto": list(self.pareto()),
            "candidates": [vars(candidate) for candidate in self.candidates],
        }


@dataclass(frozen=True)
class BoundResult:
    """A network, its evidence, its descriptions.

    Attributes:
        where: The file.
        size: Of the network described.
        evidence: Training images, training error, confidence.
        chance: Error of guessing, 1 - 1 / classes.
        test_error: For comparison; None where no data set was read.
        codes: One a code.
        notes: What a reader must know beside the numbers.
        search: If it was asked for; size, evidence and codes are then those of its best candidate.
        emitted: The code file written, if one was.
    """

    where: str
    size: Size
    evidence: Evidence
    chance: float
    test_error: float | None
    codes: tuple[CodeBound, ...]
    notes: tuple[str, ...] = ()
    search: Search | None = None
    emitted: str | None = None

    @property
    def theorem1(self) -> dict[str, float]:
        """The bound of a description that writes out all n values, b bits each."""
        size = self.size
        return {
            form: error_bound(float(size.num_parameters * size.value_bits), self.evidence, form)
            for form in FORMS
        }

    @property
    def best(self) -> CodeBound:
        """The shortest description."""
        return min(self.codes, key=lambda code: code.bits)

    @property
    def certificate(self) -> float:
        """The smallest bound: the shortest description, the inverse of the relative entropy."""
        return self.best.bounds(self.evidence)["kl"]

    @property
    def is_vacuous(self) -> bool:
        """Whether the best bound certifies no more than guessing."""
        return self.certificate >= self.chance

    def to_json(self) -> dict[str, Any]:
        return {
            "file": self.where,
            "num_parameters": self.size.num_parameters,
            "num_nonzeros": self.size.num_nonzeros,
            "num_distinct": self.size.num_distinct,
            "value_bits": self.size.value_bits,
            "num_samples": self.evidence.num_samples,
            "train_error_frac": self.evidence.train_error,
            "test_error_frac": self.test_error,
            "delta": self.evidence.delta,
            "chance_error_frac": self.chance,
            "theorem1_frac": self.theorem1,
            "codes": [code.to_json(self.evidence, self.chance) for code in self.codes],
            "best_code": self.best.code,
            "certificate_frac": self.certificate,
            "is_vacuous": self.is_vacuous,
            "search": self.search.to_json() if self.search else None,
            "notes": list(self.notes),
            "emitted": self.emitted,
        }
