"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

References = Annotated[
    Path, typer.Option(help="Folder of pristine pictures, with train/, val/ and test/.")
]
Labels = Annotated[str, typer.Option(help="Label set: all (8), table1 (7) or abstract (6).")]
Seed = Annotated[int, typer.Option(help="All chance comes from it.")]
FitPrecision = Annotated[
    Literal["32-true", "16-mixed", "bf16-mixed", "bf16-true", "16-true", "64-true"],
    typer.Option(help="Lightning's word for it; the default is the fastest of this machine."),
]
ValSet = Annotated[Path, typer.Option(help="Folder that generate made of the val split.")]
TestSet = Annotated[Path, typer.Option(help="Folder that generate made of the test split.")]
Budget = Annotated[
    float, typer.Option(min=0, max=0.5, help="Share of good frames that may be rejected.")
]
Engine = Annotated[Path, typer.Option(help="Engine folder.")]
