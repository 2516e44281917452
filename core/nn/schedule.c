// SPDX-License-Identifier: MIT
/* The rate of a step: a product of factors, each a function of the step or of how often the rate was cut. */
#include <math.h>
#include "core/nn/nn.h"

static double or_tenth(double factor) { return factor != 0 ? factor : 0.1; }

CG_API double cg_schedule_rate(const cg_schedule *s, int64_t step, int64_t cuts)
{
    const bool rising = step <= s->warmup;
    const int64_t t = rising ? 0 : step - s->warmup - 1;         /* steps since the warm-up */
    const double fallen = s->cosine > 0 && t < s->cosine ? (1 + cos(3.14159265358979323846 * (double)t / (double)s->cosine)) / 2 : 0;
    double rate = s->rate * (rising ? (double)step / (double)s->warmup : 1);
    rate *= s->every > 0 ? pow(or_tenth(s->factor), (double)(t / s->every)) : 1;
    rate *= s->cosine > 0 ? s->floor + (1 - s->floor) * fallen : 1;
    return rate * (s->plateau > 0 ? pow(or_tenth(s->cut), (double)cuts) : 1);
}
