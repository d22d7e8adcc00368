"""Writes sky.hdr: a plain blue sky with a sun and a soft box, over grey ground. 512x256 texels, uncompressed RGBE."""

import math

WIDTH, HEIGHT = 512, 256
SUN = (0.5, 0.62, 0.6)


def radiance(turn, up):
    level = math.sqrt(1.0 - up * up)
    direction = (level * math.cos(turn), up, level * math.sin(turn))
    if sum(a * b for a, b in zip(direction, SUN)) > 0.985:
        return (60.0, 54.0, 45.0)
    if 0.15 < up < 0.6 and abs(turn - 1.2) < 0.25:
        return (6.0, 6.0, 6.0)
    if up < 0.0:
        return (0.22, 0.20, 0.18)
    haze = (1.0 - up) ** 3
    return (0.25 + 0.5 * haze, 0.42 + 0.38 * haze, 0.85)


def texel(color):
    mantissa, exponent = math.frexp(max(color))
    scale = mantissa * 256.0 / max(color)
    return bytes([*(int(channel * scale) for channel in color), exponent + 128])


with open("sky.hdr", "wb") as out:
    out.write(f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {HEIGHT} +X {WIDTH}\n".encode())
    for row in range(HEIGHT):
        up = math.cos(math.pi * (row + 0.5) / HEIGHT)
        for column in range(WIDTH):
            out.write(texel(radiance(math.tau * (column + 0.5) / WIDTH, up)))
