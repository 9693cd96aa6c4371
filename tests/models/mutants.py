"""The mutants that the models must catch, and the program that tries them: ``./dev mutants [NAME …]``."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from tests.models import cdc_mutants, gateway_mutants, journal_mutants
from tests.models.red import finding

MUTANTS = cdc_mutants.MUTANTS + journal_mutants.MUTANTS + gateway_mutants.MUTANTS


def main(names: Sequence[str]) -> int:
    """Try all mutants, or those named; prints a line for each, and returns 1 if any goes unnoticed."""
    if {"-h", "--help"} & set(names):
        print("./dev mutants [NAME ...]   all, or those named, of:", *(mutant.name for mutant in MUTANTS), sep="\n  ")
        return 0
    unknown = set(names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        print(f"no such mutant: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    missed = 0
    for mutant in chosen:
        began = time.monotonic()
        found = finding(mutant)
        missed += found is None
        verdict = "caught" if found else "MISSED"
        print(f"{verdict}  {mutant.name:28} {time.monotonic() - began:5.1f} s  {mutant.breaks}", flush=True)
        print(f"        {mutant.model}: {found or 'noticed nothing'}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} mutants caught")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
