# SPDX-License-Identifier: Apache-2.0
"""Tables a person can read and JSON a program can: every bench ends with report()."""
import json
import os
import statistics
import sys


def median(values):
    return statistics.median(values)


def spread(values):
    return f"{min(values):.3g}..{max(values):.3g}"


def report(title, columns, rows, **facts):
    """Prints a table of rows (lists as long as columns); --json FILE writes {title, facts, rows as objects}."""
    cells = [columns] + [[f"{v:.3g}" if isinstance(v, float) and abs(v) < 1000 else f"{v:.0f}" if isinstance(v, float) else str(v)
                          for v in r] for r in rows]
    width = [max(len(r[i]) for r in cells) for i in range(len(columns))]
    print(f"\n{title}")
    for k, v in facts.items():
        print(f"  {k}: {v}")
    for n, r in enumerate(cells):
        print("  " + "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, width))))
        if n == 0:
            print("  " + "  ".join("-" * w for w in width))
    sys.stdout.flush()
    if "--json" in sys.argv:
        path = sys.argv[sys.argv.index("--json") + 1]
        with open(path + ".tmp", "w") as f:
            json.dump({"title": title, "facts": facts, "rows": [dict(zip(columns, r)) for r in rows]}, f, indent=1)
        os.replace(path + ".tmp", path)
