// SPDX-License-Identifier: MIT
/* Grey images in a grid, as a PNG file. */
#ifndef CGRAPH_PICTURE_H
#define CGRAPH_PICTURE_H

#include <stdint.h>

int picture_possible(void);              /* 0, and a sentence on stderr: this program was built without libpng */
/* Row by row of the grid, `down` times `across` images of rows x columns floats from 0 to 1, each point drawn as a square of `zoom` pixels. The file is
 * replaced as a whole. Says on stderr what is wrong; 0 or an exit code. */
int picture_write(const char *path, const float *const *images, int down, int across, int64_t rows, int64_t columns, int zoom);

#endif
