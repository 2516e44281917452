#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes the texts of kernels/ as one array of pieces: embed.py math.h half.h out.c"""
import fileinput, sys

pieces, current = [], None
for line in fileinput.input(sys.argv[1:-1]):
    if fileinput.isfirstline():
        current = None
    if line.startswith("//@ "):
        name, _, deps = line[4:].strip().partition(":")
        current = (name, deps.strip(), [])
        pieces.append(current)
    elif current:
        current[2].append(line)
quote = lambda s: '"' + s.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
with open(sys.argv[-1], "w") as out:
    out.write('#include "kernels/pieces.h"\n\nconst cg_math_piece cg__math_pieces[] = {\n')
    for name, deps, text in pieces:
        out.write(f"    {{ {quote(name)}, {quote(deps)},\n" + "\n".join("      " + quote(t) for t in text) + " },\n")
    out.write("    { 0, 0, 0 },\n};\n")
