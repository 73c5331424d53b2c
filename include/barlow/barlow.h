// SPDX-License-Identifier: Apache-2.0
/// \file
/// Barlow Twins on LibTorch: self-supervised pretraining of image encoders by redundancy reduction. A map:
///
///   encoder.h     create_encoder: images [N,C,H,W] -> features [N,F]; list_encoders, register_encoder
///   encoders/     the families' classes, one header each
///   model.h       create_barlow_twins_model: encoder + projector -> embeddings [N,D]
///   loss.h        barlow_twins_loss of two views' embeddings
///   augment/      transforms of a batch, pipelines of random ones, and presets (get_barlow_twins_aug_pipelines)
///   data.h        DataLoaders: folders, lists and archives of images, or a data set of yours, to batches
///   datasets.h    what they are made of: image files, IDX, CIFAR, tar shards
///   learner.h     Learner: the loop;  callback.h: its events;  callbacks/: what listens to them (BarlowTwins first)
///   optim.h       optimisers;  schedule.h: rates of a step;  lr_find.h: which rate to take
///   recipe.h      published ways of training, each in one place
///   checkpoint.h  the state of a run as a file;  callbacks/checkpoints.h: saves it and goes on from it
///   distributed.h processes that train together;  batch_norm.h: with the statistics of all of them
///   embed.h       features of a data set;  knn.h, linear_probe.h: what they are worth;  diagnostics.h: without labels
///   classifier.h  an encoder with a head, fine-tuned;  callbacks/report.h: a run as a page to look at
///   weights.h     parameters to and from files;  onnx.h: an encoder for other programs
///   feature_extractor.h  a trained encoder in use: files -> features
///
/// On these stand gradient_checkpointing.h, conv.h, nn.h, image.h, picture.h, random.h, smoothing.h and
/// error.h.
///
/// Letters: N samples, C channels, H x W pixels, S pixels a side of a view, F features, D projection size.
/// Errors are barlow::Error and read `[public_name] rule, received value; remedy`.
#pragma once

#include <barlow/augment/pipeline.h>
#include <barlow/augment/presets.h>
#include <barlow/augment/random_transforms.h>
#include <barlow/augment/transforms.h>
#include <barlow/augment/view.h>
#include <barlow/batch_norm.h>
#include <barlow/callback.h>
#include <barlow/callbacks/barlow_twins.h>
#include <barlow/callbacks/checkpoints.h>
#include <barlow/callbacks/classification.h>
#include <barlow/callbacks/csv_log.h>
#include <barlow/callbacks/early_stop.h>
#include <barlow/callbacks/ema.h>
#include <barlow/callbacks/gradients.h>
#include <barlow/callbacks/json_log.h>
#include <barlow/callbacks/online_knn.h>
#include <barlow/callbacks/online_linear.h>
#include <barlow/callbacks/param_scheduler.h>
#include <barlow/callbacks/progress.h>
#include <barlow/callbacks/recorder.h>
#include <barlow/callbacks/report.h>
#include <barlow/callbacks/roll_back.h>
#include <barlow/callbacks/short_epoch.h>
#include <barlow/callbacks/tensor_board.h>
#include <barlow/callbacks/time_limit.h>
#include <barlow/checkpoint.h>
#include <barlow/classifier.h>
#include <barlow/conv.h>
#include <barlow/data.h>
#include <barlow/datasets.h>
#include <barlow/diagnostics.h>
#include <barlow/distributed.h>
#include <barlow/embed.h>
#include <barlow/encoder.h>
#include <barlow/encoders/convnext.h>
#include <barlow/encoders/densenet.h>
#include <barlow/encoders/efficientnet.h>
#include <barlow/encoders/mlp_mixer.h>
#include <barlow/encoders/regnet.h>
#include <barlow/encoders/resnet.h>
#include <barlow/encoders/resnetv2.h>
#include <barlow/encoders/senet.h>
#include <barlow/encoders/swin.h>
#include <barlow/encoders/torchvision_nets.h>
#include <barlow/encoders/vgg.h>
#include <barlow/encoders/vit.h>
#include <barlow/encoders/xresnet.h>
#include <barlow/error.h>
#include <barlow/feature_extractor.h>
#include <barlow/gradient_checkpointing.h>
#include <barlow/image.h>
#include <barlow/knn.h>
#include <barlow/learner.h>
#include <barlow/linear_probe.h>
#include <barlow/loss.h>
#include <barlow/lr_find.h>
#include <barlow/model.h>
#include <barlow/nn.h>
#include <barlow/onnx.h>
#include <barlow/optim.h>
#include <barlow/picture.h>
#include <barlow/random.h>
#include <barlow/recipe.h>
#include <barlow/schedule.h>
#include <barlow/smoothing.h>
#include <barlow/weights.h>
