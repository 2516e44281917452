// SPDX-License-Identifier: MIT
/* The grid is drawn in memory, then written beside the path and renamed. Images stand one pixel of grey apart. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/cgraph/cgraph.h"
#include "tools/cgraph/picture.h"

#ifdef CG_HAVE_PNG
#include <png.h>

int picture_possible(void) { return 1; }

static void draw(unsigned char *to, size_t width, const float *image, int64_t rows, int64_t columns, int zoom)
{
    for (int64_t y = 0; y < rows * zoom; y++)
        for (int64_t x = 0; x < columns * zoom; x++) {
            const float v = image[y / zoom * columns + x / zoom];
            to[(size_t)y * width + (size_t)x] = (unsigned char)(255 * (v > 0 ? v < 1 ? v : 1 : 0) + 0.5F);
        }
}

static int write_file(const char *path, const unsigned char *pixels, int64_t width, int64_t height)
{
    char beside[4200];
    png_image png = { .version = PNG_IMAGE_VERSION, .width = (png_uint_32)width, .height = (png_uint_32)height, .format = PNG_FORMAT_GRAY };
    snprintf(beside, sizeof beside, "%s.part", path);
    const int written = png_image_write_to_file(&png, beside, 0, pixels, 0, NULL);
    if (written && rename(beside, path) == 0)
        return 0;
    fprintf(stderr, "cgraph: train: %s cannot be written: %s\n", path, written ? strerror(errno) : png.message);
    remove(beside);
    return EXIT_FAILED;
}

int picture_write(const char *path, const float *const *images, int down, int across, int64_t rows, int64_t columns, int zoom)
{
    const int64_t high = rows * zoom + 1, wide = columns * zoom + 1, height = down * high + 1, width = across * wide + 1;
    unsigned char *pixels = malloc((size_t)(height * width));
    if (!pixels)
        return fprintf(stderr, "cgraph: train: no memory\n"), EXIT_FAILED;
    memset(pixels, 128, (size_t)(height * width));
    for (int i = 0; i < down; i++)
        for (int k = 0; k < across; k++)
            draw(pixels + (i * high + 1) * width + k * wide + 1, (size_t)width, images[i * across + k], rows, columns, zoom);
    const int rc = write_file(path, pixels, width, height);
    free(pixels);
    return rc;
}

#else

int picture_possible(void) { return fprintf(stderr, "cgraph: train: this program was built without libpng (Debian: libpng-dev), so it draws no pictures\n"), 0; }

int picture_write(const char *path, const float *const *images, int down, int across, int64_t rows, int64_t columns, int zoom)
{
    (void)path, (void)images, (void)down, (void)across, (void)rows, (void)columns, (void)zoom;
    return picture_possible() ? 0 : EXIT_FAILED;
}

#endif
