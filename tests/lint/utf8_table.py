#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes core/base/utf8_table.h from Python's own Unicode data: utf8_table.py > core/base/utf8_table.h"""
import unicodedata


def wide_block(cp):
    return 0x20000 <= cp <= 0x2FFFD or 0x30000 <= cp <= 0x3FFFD


def width(cp):
    c = chr(cp)
    cat = unicodedata.category(c)
    if cat in ("Mn", "Me") or (cat == "Cf" and cp != 0xAD) or 0x1160 <= cp <= 0x11FF or 0xD7B0 <= cp <= 0xD7FF:
        return 0
    if wide_block(cp) or (cat != "Cn" and unicodedata.east_asian_width(c) in "WF"):
        return 2
    return 1


def ranges(want):
    out = []
    for cp in range(0x80, 0x110000):
        if 0xD800 <= cp <= 0xDFFF or not want(cp):
            continue
        if out and out[-1][1] == cp - 1:
            out[-1][1] = cp
        else:
            out.append([cp, cp])
    return out


def table(name, found):
    text, line = f"static const struct range {name}[] = {{\n", "\t"
    for a, b in found:
        item = f"{{ 0x{a:04x}, 0x{b:04x} }}, "
        if len(line) + len(item) > 112:
            text, line = text + line.rstrip() + "\n", "\t"
        line += item
    return text + line.rstrip() + "\n};\n"


print(f"""/* SPDX-License-Identifier: Apache-2.0 */
/* Made by tests/lint/utf8_table.py from Unicode {unicodedata.unidata_version}; private to utf8.c. Sorted, not overlapping. */
#ifndef BULKHEAD_BASE_UTF8_TABLE_H
#define BULKHEAD_BASE_UTF8_TABLE_H

#include <stdint.h>

struct range {{
	uint32_t first, last;
}};

/* Combining marks and what else takes no column. */
{table("zero_width", ranges(lambda c: width(c) == 0))}
/* East Asian Wide and Fullwidth, emoji presentation. */
{table("wide", ranges(lambda c: width(c) == 2))}
/* Format characters and line separators: never shown as they are. */
{table("format_chars", ranges(lambda c: unicodedata.category(chr(c)) in ("Cf", "Zl", "Zp")))}
#endif""")
