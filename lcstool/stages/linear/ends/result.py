"""Where gradient descent ended, by the number of real roots of the target."""

from dataclasses import asdict, dataclass
from typing import Any

from lcstool.lcn import LinearConvArchitecture
from lcstool.lcn.table import TableRow


@dataclass(frozen=True, eq=False)
class EndsResult:
    """Where gradient descent ended, a row for each number of real roots."""

    architecture: LinearConvArchitecture
    rows: tuple[TableRow, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": "lcstool.linear-ends/1",
            **self.architecture.to_json(),
            "num_real_roots_required": self.architecture.num_real_roots_required,
            "rows": [_row_json(row) for row in self.rows],
        }


def _row_json(row: TableRow) -> dict[str, Any]:
    shared = [{"pattern": pattern, "num_runs": num_runs} for pattern, num_runs in row.shared.items()]
    return asdict(row) | {"shared": shared}
