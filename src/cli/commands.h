// SPDX-License-Identifier: Apache-2.0
// The commands of the program. Each returns its exit status; they throw UsageError, HelpAsked, Error.
#pragma once

#include "arguments.h"

namespace barlow::cli {

int run_pretrain(const Arguments& arguments);
int run_evaluate(const Arguments& arguments);
int run_finetune(const Arguments& arguments);
int run_embed(const Arguments& arguments);
int run_export(const Arguments& arguments);
int run_views(const Arguments& arguments);
int run_encoders(const Arguments& arguments);
int run_lr_find(const Arguments& arguments);
int run_report(const Arguments& arguments);
int run_doctor(const Arguments& arguments);

} // namespace barlow::cli
