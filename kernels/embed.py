#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the scalar functions as pieces of OpenCL C: embed.py out.c FILE[:dtype]...

A line `//@ name` opens a piece, `//@ each` a list of functions of one line, each a piece that is named after it.
A file with a dtype is a text over T, U, M(f) and K(literal), which become that dtype's; the others name their types. What a
piece calls is found by name, so callees must stand before it.
"""
import re
import sys

TYPES = {"f32": ("float", ""), "f64": ("double", ""), "i32": ("cg_i32", "cg_u32"), "u32": ("cg_u32", "cg_u32"),
         "i64": ("cg_i64", "cg_u64"), "u64": ("cg_u64", "cg_u64")}
NAME = re.compile(r"\bcg_\w+_(?:%s)\b" % "|".join([*TYPES, "f16", "bf16"]))

def instance(line, dtype):
    """The line with T, U, M(f) and K(x) replaced."""
    line = re.sub(r"\bM\((\w+)\)", rf"cg_\1_{dtype}", line)
    line = re.sub(r"\bK\(([^)]*)\)", r"\1f" if dtype == "f32" else r"\1", line)
    return re.sub(r"\bU\b", TYPES[dtype][1], re.sub(r"\bT\b", TYPES[dtype][0], line))

def pieces_of(path, dtype):
    found, each = [], False
    for line in open(path):
        if line.startswith("//@ "):
            name = line[4:].partition(":")[0].strip()
            each = name == "each"
            if not each:
                found.append((f"cg_{name}_{dtype}" if dtype else name, []))
        elif each:
            found.append((NAME.search(line).group(), [line]))
        elif found:
            found[-1][1].append(instance(line, dtype) if dtype else line)
    return [p for p in found if p[0] != "end"]

pieces = [p for arg in sys.argv[2:] for p in pieces_of(*(arg.rsplit(":", 1) if ":" in arg else (arg, "")))]
known = {name for name, _ in pieces}
quote = lambda s: '"' + s.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
with open(sys.argv[1], "w") as out:
    out.write('#include "kernels/pieces.h"\n\nconst cg_math_piece cg__math_pieces[] = {\n')
    for i, (name, text) in enumerate(pieces):
        calls = {c for c in NAME.findall("".join(text)) if c != name and c in known}
        late = calls - {p[0] for p in pieces[:i]}
        if late:
            sys.exit(f"embed.py: {name} calls {', '.join(sorted(late))}, which stand after it")
        out.write(f"    {{ {quote(name)}, {quote(' '.join(sorted(calls)))},\n" + "\n".join("      " + quote(t) for t in text) + " },\n")
    out.write("    { 0, 0, 0 },\n};\n" + f'_Static_assert({len(pieces)} <= CG_MATH_PIECES_MAX, "the users of pieces have room for them");\n')
