# SPDX-License-Identifier: MIT
"""Philox4x32-10 (Salmon et al. 2011) for the golden tables: word w of the block of a 128-bit counter (low, high) under a 64-bit key."""

def philox(low, high, key, w):
    x, k, m = [low, low >> 32, high, high >> 32], [key, key >> 32], 0xFFFFFFFF
    x, k = [v & m for v in x], [v & m for v in k]
    for _ in range(10):
        p, q = x[0] * 0xD2511F53, x[2] * 0xCD9E8D57
        x, k = [q >> 32 ^ x[1] ^ k[0], q & m, p >> 32 ^ x[3] ^ k[1], p & m], [k[0] + 0x9E3779B9 & m, k[1] + 0xBB67AE85 & m]
    return x[w]
