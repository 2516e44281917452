// SPDX-License-Identifier: MIT
/* The models by name: how each is trained, and what holds unless options say otherwise. */
#include <string.h>
#include "tools/cgraph/cgraph.h"
#include "tools/cgraph/train.h"

static const model_kind kinds[] = {
    { "logreg", &image_task, &logreg, NULL, 20, 64, 1e-3, 0 },
    { "mlp", &image_task, &mlp, NULL, 20, 64, 1e-3, 0 },
    { "lstm", &image_task, &lstm, NULL, 20, 64, 1e-3, 0 },
    { "lenet", &image_task, &lenet, NULL, 8, 64, 1e-3, 0 },
    { "resnet", &image_task, &resnet, NULL, 12, 64, 1e-3, 0 },
    { "transformer", &image_task, &transformer, NULL, 20, 64, 1e-3, 0 },
    { "autoencoder", &autoencoder_task, NULL, NULL, 10, 64, 1e-3, 0 },
    { "charlm", &charlm_task, NULL, "/usr/share/common-licenses", 10, 16, 2e-3, 0.1 },
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

const model_kind *model_find(const char *name)
{
    for (int i = 0; i < KINDS; i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

const char *model_names(void)
{
    static char list[200];
    list[0] = 0;
    for (int i = 0; i < KINDS; i++) {
        strcat(list, i ? ", " : "");
        strcat(list, kinds[i].name);
    }
    return list;
}

void model_defaults(const model_kind *k, options *o)
{
    o->model = k;
    o->data = o->data ? o->data : k->data ? k->data : data_default_dir();
    o->epochs = o->epochs < 0 ? k->epochs : o->epochs;
    o->how.batch = o->how.batch ? o->how.batch : k->batch;
    o->how.rate = o->own_rate ? o->how.rate : k->rate;
    o->validation = o->validation < 0 ? k->validation : o->validation;
}
