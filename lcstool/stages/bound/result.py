"""What was found: how long a network's descriptions are, and the bounds that follow from them."""

from dataclasses import asdict, dataclass
from typing import Any

from lcstool.bounds import FORMS, Evidence, affordable_bits, error_bound
from lcstool.codes import Counts
from lcstool.images import UsedDataset


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large a network is, as a list of numbers.

    Attributes:
        num_parameters: Number n of parameters, zero or not.
        num_nonzeros: How many of them are not zero.
        num_distinct: Number k of different values, zero among them.
        value_bits: Bits b of one value.
    """

    num_parameters: int
    num_nonzeros: int
    num_distinct: int
    value_bits: int

    @staticmethod
    def of(counts: Counts) -> "Size":
        return Size(
            num_parameters=counts.num_entries,
            num_nonzeros=counts.num_nonzeros,
            num_distinct=counts.num_distinct,
            value_bits=counts.value_bits,
        )


@dataclass(frozen=True, kw_only=True)
class CodeBound:
    """The network's description by one code.

    Attributes:
        code: Its name.
        terms: Bits by what they are spent on, from the code's formula.
        formula_bits: Their sum.
        measured_bits: Length of a bit string that was made, decoded and compared; None where none was made.
        choice_bits: Bits that name this description among those that were compared.
        affordable_nonzeros: The most non-zeros that would give a bound below chance, -1 if not even 0 would; None
            where the code's length does not follow from counts.
    """

    code: str
    terms: dict[str, float]
    formula_bits: float
    measured_bits: int | None
    choice_bits: int
    affordable_nonzeros: int | None

    @property
    def bits(self) -> float:
        """The length that the bound uses: the measured one if there is one, plus the choice."""
        length = self.formula_bits if self.measured_bits is None else self.measured_bits
        return length + self.choice_bits

    def bounds(self, evidence: Evidence) -> dict[str, float]:
        """The bound in each form; `printed` takes the formula's length, as the paper does."""
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


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One way to make the network smaller.

    Attributes:
        pruned_frac: Share of the weights that were pruned.
        value_bits: Bits of a value.
        quantizer: How values were rounded: `plain` (not at all), `half` (to float16), or the name of a grid.
        code: The code with the shortest description.
        code_bits: Its formula's length, rounded up, without the bits of the choice.
        train_error_frac, test_error_frac: Errors of the smaller network.
        bound_frac: The bound in the form `kl`, the bits of the choice included.
    """

    pruned_frac: float
    value_bits: int
    quantizer: str
    code: str
    code_bits: int
    train_error_frac: float
    test_error_frac: float
    bound_frac: float


@dataclass(frozen=True)
class Search:
    """All candidates, and what choosing among them costs.

    Attributes:
        candidates: In the order tried.
        best: Index of the one with the smallest bound.
        choice_bits: Bits that name one combination of candidate and code.
    """

    candidates: tuple[Candidate, ...]
    best: int
    choice_bits: int

    def pareto(self) -> tuple[int, ...]:
        """Candidates that no other beats in both length and training error, shortest first."""
        order = sorted(
            range(len(self.candidates)),
            key=lambda i: (self.candidates[i].code_bits, self.candidates[i].train_error_frac),
        )
        front: list[int] = []
        for index in order:
            error = self.candidates[index].train_error_frac
            if not front or error < self.candidates[front[-1]].train_error_frac:
                front.append(index)
        return tuple(front)

    def to_json(self) -> dict[str, Any]:
        return {
            "choice_bits": self.choice_bits,
            "best": self.best,
            "pareto": list(self.pareto()),
            "candidates": [asdict(candidate) for candidate in self.candidates],
        }


@dataclass(frozen=True, kw_only=True)
class BoundResult:
    """A network's descriptions and the bounds on its error.

    Attributes:
        where: The network's file.
        size: Of the network that is described.
        evidence: Number of training images, training error, and the probability that the bound fails.
        chance: Error of guessing, 1 - 1 / classes.
        test_error: For comparison; None where no data set was read.
        codes: One description for each code.
        dataset: The images that the errors were measured on; None where an error was given.
        notes: What a reader should know of the numbers.
        search: All candidates, if a search was asked for; size, evidence and codes are then those of the best one.
        emitted: The code file that was written, if any.
    """

    where: str
    size: Size
    evidence: Evidence
    chance: float
    test_error: float | None
    codes: tuple[CodeBound, ...]
    dataset: UsedDataset | None = None
    notes: tuple[str, ...] = ()
    search: Search | None = None
    emitted: str | None = None

    @property
    def theorem1(self) -> dict[str, float]:
        """The bound in each form for a description that writes out all n values with b bits each."""
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
        """The smallest bound: of the shortest description, in the form `kl`."""
        return self.best.bounds(self.evidence)["kl"]

    @property
    def is_vacuous(self) -> bool:
        """Whether the smallest bound is no better than guessing."""
        return self.certificate >= self.chance

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "lcstool.bound/1",
            "file": self.where,
            **asdict(self.size),
            "dataset": self.dataset.to_json() if self.dataset else None,
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

    def metrics(self) -> dict[str, Any]:
        """What the history keeps: the document without its schema, the candidates and the names of files."""
        document = self.to_json()
        del document["schema"]
        return document | {"file": None, "search": None, "emitted": None}
