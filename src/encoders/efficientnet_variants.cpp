// SPDX-License-Identifier: Apache-2.0
// The networks of the EfficientNet family. Source: timm 1.0.31, whose notation the stages are in.
#include <barlow/encoders/efficientnet.h>

#include "registry.h"

namespace barlow {
namespace {

// clang-format off
constexpr auto kB =
    "ds_r1_k3_s1_e1_c16_se0.25 | ir_r2_k3_s2_e6_c24_se0.25 | ir_r2_k5_s2_e6_c40_se0.25 | "
    "ir_r3_k3_s2_e6_c80_se0.25 | ir_r3_k5_s1_e6_c112_se0.25 | ir_r4_k5_s2_e6_c192_se0.25 | "
    "ir_r1_k3_s1_e6_c320_se0.25";
constexpr auto kCondConv =
    "ds_r1_k3_s1_e1_c16_se0.25 | ir_r2_k3_s2_e6_c24_se0.25 | ir_r2_k5_s2_e6_c40_se0.25 | "
    "ir_r3_k3_s2_e6_c80_se0.25 | ir_r3_k5_s1_e6_c112_se0.25_cc4 | ir_r4_k5_s2_e6_c192_se0.25_cc4 | "
    "ir_r1_k3_s1_e6_c320_se0.25_cc4";
constexpr auto kEdge =
    "er_r1_k3_s1_e4_c24_fc24_noskip | er_r2_k3_s2_e8_c32 | er_r4_k3_s2_e8_c48 | ir_r5_k5_s2_e8_c96 | "
    "ir_r4_k5_s1_e8_c144 | ir_r2_k5_s2_e8_c192";
constexpr auto kH =
    "ds_r1_k3_s1_e1_c16_se0.25_d1 | er_r2_k3_s2_e4_c24_se0.25_nre | er_r2_k5_s2_e4_c40_se0.25_nre | "
    "ir_r3_k3_s2_e4_c80_se0.25 | ir_r3_k5_s1_e6_c112_se0.25 | ir_r4_k5_s2_e6_c192_se0.25 | "
    "ir_r1_k3_s1_e6_c320_se0.25";
constexpr auto kLite =
    "ds_r1_k3_s1_e1_c16 | ir_r2_k3_s2_e6_c24 | ir_r2_k5_s2_e6_c40 | ir_r3_k3_s2_e6_c80 | "
    "ir_r3_k5_s1_e6_c112 | ir_r4_k5_s2_e6_c192 | ir_r1_k3_s1_e6_c320";
constexpr auto kX =
    "ds_r1_k3_s1_e1_c16_se0.25_d1 | er_r2_k3_s2_e6_c24_se0.25_nre | er_r2_k5_s2_e6_c40_se0.25_nre | "
    "ir_r3_k3_s2_e6_c80_se0.25 | ir_r3_k5_s1_e6_c112_se0.25 | ir_r4_k5_s2_e6_c192_se0.25 | "
    "ir_r1_k3_s1_e6_c320_se0.25";
constexpr auto kV2Large =
    "cn_r4_k3_s1_e1_c32_skip | er_r7_k3_s2_e4_c64 | er_r7_k3_s2_e4_c96 | ir_r10_k3_s2_e4_c192_se0.25 | "
    "ir_r19_k3_s1_e6_c224_se0.25 | ir_r25_k3_s2_e6_c384_se0.25 | ir_r7_k3_s1_e6_c640_se0.25";
constexpr auto kV2Medium =
    "cn_r3_k3_s1_e1_c24_skip | er_r5_k3_s2_e4_c48 | er_r5_k3_s2_e4_c80 | ir_r7_k3_s2_e4_c160_se0.25 | "
    "ir_r14_k3_s1_e6_c176_se0.25 | ir_r18_k3_s2_e6_c304_se0.25 | ir_r5_k3_s1_e6_c512_se0.25";
constexpr auto kV2Rw =
    "er_r2_k3_s1_e1_c24 | er_r4_k3_s2_e4_c48 | er_r4_k3_s2_e4_c64 | ir_r6_k3_s2_e4_c128_se0.25 | "
    "ir_r9_k3_s1_e6_c160_se0.25 | ir_r15_k3_s2_e6_c272_se0.25";
constexpr auto kV2Small =
    "cn_r2_k3_s1_e1_c24_skip | er_r4_k3_s2_e4_c48 | er_r4_k3_s2_e4_c64 | ir_r6_k3_s2_e4_c128_se0.25 | "
    "ir_r9_k3_s1_e6_c160_se0.25 | ir_r15_k3_s2_e6_c256_se0.25";
constexpr auto kV2XLarge =
    "cn_r4_k3_s1_e1_c32_skip | er_r8_k3_s2_e4_c64 | er_r8_k3_s2_e4_c96 | ir_r16_k3_s2_e4_c192_se0.25 | "
    "ir_r24_k3_s1_e6_c256_se0.25 | ir_r32_k3_s2_e6_c512_se0.25 | ir_r8_k3_s1_e6_c640_se0.25";
constexpr auto kFbNetC =
    "ir_r1_k3_s1_e1_c16 | ir_r1_k3_s2_e6_c24 ir_r2_k3_s1_e1_c24 | "
    "ir_r1_k5_s2_e6_c32 ir_r1_k5_s1_e3_c32 ir_r1_k5_s1_e6_c32 ir_r1_k3_s1_e6_c32 | "
    "ir_r1_k5_s2_e6_c64 ir_r1_k5_s1_e3_c64 ir_r2_k5_s1_e6_c64 | ir_r3_k5_s1_e6_c112 ir_r1_k5_s1_e3_c112 | "
    "ir_r4_k5_s2_e6_c184 | ir_r1_k3_s1_e6_c352";
constexpr auto kMixNetMedium =
    "ds_r1_k3_s1_e1_c24 | ir_r1_k3.5.7_a1.1_p1.1_s2_e6_c32 ir_r1_k3_a1.1_p1.1_s1_e3_c32 | "
    "ir_r1_k3.5.7.9_s2_e6_c40_se0.5_nsw ir_r3_k3.5_a1.1_p1.1_s1_e6_c40_se0.5_nsw | "
    "ir_r1_k3.5.7_s2_e6_c80_se0.25_nsw ir_r3_k3.5.7.9_a1.1_p1.1_s1_e6_c80_se0.25_nsw | "
    "ir_r1_k3_s1_e6_c120_se0.5_nsw ir_r3_k3.5.7.9_a1.1_p1.1_s1_e3_c120_se0.5_nsw | "
    "ir_r1_k3.5.7.9_s2_e6_c200_se0.5_nsw ir_r3_k3.5.7.9_p1.1_s1_e6_c200_se0.5_nsw";
constexpr auto kMixNetSmall =
    "ds_r1_k3_s1_e1_c16 | ir_r1_k3_a1.1_p1.1_s2_e6_c24 ir_r1_k3_a1.1_p1.1_s1_e3_c24 | "
    "ir_r1_k3.5.7_s2_e6_c40_se0.5_nsw ir_r3_k3.5_a1.1_p1.1_s1_e6_c40_se0.5_nsw | "
    "ir_r1_k3.5.7_p1.1_s2_e6_c80_se0.25_nsw ir_r2_k3.5_p1.1_s1_e6_c80_se0.25_nsw | "
    "ir_r1_k3.5.7_a1.1_p1.1_s1_e6_c120_se0.5_nsw ir_r2_k3.5.7.9_a1.1_p1.1_s1_e3_c120_se0.5_nsw | "
    "ir_r1_k3.5.7.9.11_s2_e6_c200_se0.5_nsw ir_r2_k3.5.7.9_p1.1_s1_e6_c200_se0.5_nsw";
constexpr auto kMnasNet =
    "ds_r1_k3_s1_c16_noskip | ir_r3_k3_s2_e3_c24 | ir_r3_k5_s2_e3_c40 | ir_r3_k5_s2_e6_c80 | "
    "ir_r2_k3_s1_e6_c96 | ir_r4_k5_s2_e6_c192 | ir_r1_k3_s1_e6_c320_noskip";
constexpr auto kMnasNetSmall =
    "ds_r1_k3_s1_c8 | ir_r1_k3_s2_e3_c16 | ir_r2_k3_s2_e6_c16 | ir_r4_k5_s2_e6_c32_se0.25 | "
    "ir_r3_k3_s1_e6_c32_se0.25 | ir_r3_k5_s2_e6_c88_se0.25 | ir_r1_k3_s1_e6_c144";
constexpr auto kEdgeTpu =
    "cn_r1_k1_s1_c16 | er_r1_k3_s2_e8_c32 er_r3_k3_s1_e4_c32 | er_r1_k3_s2_e8_c48 er_r3_k3_s1_e4_c48 | "
    "ir_r1_k3_s2_e8_c96 ir_r3_k3_s1_e4_c96 | ir_r1_k3_s1_e8_c96_noskip ir_r3_k3_s1_e4_c96 | "
    "ir_r1_k5_s2_e8_c160 ir_r3_k5_s1_e4_c160 | ir_r1_k3_s1_e8_c192";
constexpr auto kEdgeTpuV2Large =
    "cn_r1_k1_s1_c32 | er_r1_k3_s2_e8_c64 er_r1_k3_s1_e4_gs128_c64 | "
    "er_r1_k3_s2_e8_c96 er_r1_k3_s1_e4_gs128_c96 er_r1_k3_s1_e4_c96 er_r1_k3_s1_e4_gs128_c96 | "
    "er_r1_k3_s2_e8_c192 ir_r3_k3_s1_e4_c192 | ir_r1_k3_s1_e8_c240 ir_r3_k3_s1_e4_c240 | "
    "ir_r1_k3_s2_e8_c256 ir_r3_k3_s1_e4_c256 | ir_r1_k3_s1_e8_c384";
constexpr auto kEdgeTpuV2Medium =
    "cn_r1_k1_s1_c32 | er_r1_k3_s2_e8_c64 er_r1_k3_s1_e4_gs64_c64 | "
    "er_r1_k3_s2_e8_c80 er_r1_k3_s1_e4_gs64_c80 er_r1_k3_s1_e4_c80 er_r1_k3_s1_e4_gs64_c80 | "
    "er_r1_k3_s2_e8_c160 ir_r3_k3_s1_e4_c160 | ir_r1_k3_s1_e8_c192 ir_r3_k3_s1_e4_c192 | "
    "ir_r1_k3_s2_e8_c240 ir_r3_k3_s1_e4_c240 | ir_r1_k3_s1_e8_c320";
constexpr auto kEdgeTpuV2Small =
    "cn_r1_k1_s1_c24 | er_r1_k3_s2_e8_c48 er_r1_k3_s1_e4_gs64_c48 | "
    "er_r1_k3_s2_e8_c64 er_r1_k3_s1_e4_gs64_c64 er_r1_k3_s1_e4_c64 er_r1_k3_s1_e4_gs64_c64 | "
    "er_r1_k3_s2_e8_c128 ir_r3_k3_s1_e4_c128 | ir_r1_k3_s1_e8_c160 ir_r3_k3_s1_e4_c160 | "
    "ir_r1_k3_s2_e8_c192 ir_r3_k3_s1_e4_c192 | ir_r1_k3_s1_e8_c256";
constexpr auto kEdgeTpuV2XSmall =
    "cn_r1_k1_s1_c16 | er_r1_k3_s2_e8_c32 er_r1_k3_s1_e4_gs64_c32 | "
    "er_r1_k3_s2_e8_c48 er_r1_k3_s1_e4_gs64_c48 er_r1_k3_s1_e4_c48 er_r1_k3_s1_e4_gs64_c48 | "
    "er_r1_k3_s2_e8_c96 ir_r3_k3_s1_e4_c96 | ir_r1_k3_s1_e8_c144 ir_r3_k3_s1_e4_c144 | "
    "ir_r1_k3_s2_e8_c160 ir_r3_k3_s1_e4_c160 | ir_r1_k3_s1_e8_c192";
constexpr auto kMobileV1 =
    "dsa_r1_k3_s1_c64 | dsa_r2_k3_s2_c128 | dsa_r2_k3_s2_c256 | dsa_r6_k3_s2_c512 | dsa_r2_k3_s2_c1024";
constexpr auto kMobileV2 =
    "ds_r1_k3_s1_c16 | ir_r2_k3_s2_e6_c24 | ir_r3_k3_s2_e6_c32 | ir_r4_k3_s2_e6_c64 | ir_r3_k3_s1_e6_c96 | "
    "ir_r3_k3_s2_e6_c160 | ir_r1_k3_s1_e6_c320";
constexpr auto kSemNasNet =
    "ds_r1_k3_s1_e1_c16_noskip | ir_r2_k3_s2_e6_c24 | ir_r3_k5_s2_e3_c40_se0.25 | ir_r4_k3_s2_e6_c80 | "
    "ir_r2_k3_s1_e6_c112_se0.25 | ir_r3_k5_s2_e6_c160_se0.25 | ir_r1_k3_s1_e6_c320";
constexpr auto kSpNasNet =
    "ds_r1_k3_s1_c16_noskip | ir_r3_k3_s2_e3_c24 | ir_r1_k5_s2_e6_c40 ir_r3_k3_s1_e3_c40 | "
    "ir_r1_k5_s2_e6_c80 ir_r3_k3_s1_e3_c80 | ir_r1_k5_s1_e6_c96 ir_r3_k5_s1_e3_c96 | ir_r4_k5_s2_e6_c192 | "
    "ir_r1_k3_s1_e6_c320_noskip";
constexpr auto kV2Base =
    "cn_r1_k3_s1_e1_c16_skip | er_r2_k3_s2_e4_c32 | er_r2_k3_s2_e4_c48 | ir_r3_k3_s2_e4_c96_se0.25 | "
    "ir_r5_k3_s1_e6_c112_se0.25 | ir_r8_k3_s2_e6_c192_se0.25";
constexpr auto kFbNetV3B =
    "ds_r2_k3_s1_e1_c16 | ir_r1_k5_s2_e4_c24 ir_r3_k5_s1_e2_c24 | "
    "ir_r1_k5_s2_e5_c40_se0.25 ir_r4_k5_s1_e3_c40_se0.25 | ir_r1_k5_s2_e5_c72 ir_r4_k3_s1_e3_c72 | "
    "ir_r1_k3_s1_e5_c120_se0.25 ir_r5_k5_s1_e3_c120_se0.25 | "
    "ir_r1_k3_s2_e6_c184_se0.25 ir_r5_k5_s1_e4_c184_se0.25 ir_r1_k5_s1_e6_c224_se0.25 | cn_r1_k1_s1_c1344";
constexpr auto kFbNetV3D =
    "ds_r2_k3_s1_e1_c16 | ir_r1_k3_s2_e5_c24 ir_r5_k3_s1_e2_c24 | "
    "ir_r1_k5_s2_e4_c40_se0.25 ir_r4_k3_s1_e3_c40_se0.25 | ir_r1_k3_s2_e5_c72 ir_r4_k3_s1_e3_c72 | "
    "ir_r1_k3_s1_e5_c128_se0.25 ir_r6_k5_s1_e3_c128_se0.25 | "
    "ir_r1_k3_s2_e6_c208_se0.25 ir_r5_k5_s1_e5_c208_se0.25 ir_r1_k5_s1_e6_c240_se0.25 | cn_r1_k1_s1_c1440";
constexpr auto kFbNetV3G =
    "ds_r3_k3_s1_e1_c24 | ir_r1_k5_s2_e4_c40 ir_r4_k5_s1_e2_c40 | "
    "ir_r1_k5_s2_e4_c56_se0.25 ir_r4_k5_s1_e3_c56_se0.25 | ir_r1_k5_s2_e5_c104 ir_r4_k3_s1_e3_c104 | "
    "ir_r1_k3_s1_e5_c160_se0.25 ir_r8_k5_s1_e3_c160_se0.25 | "
    "ir_r1_k3_s2_e6_c264_se0.25 ir_r6_k5_s1_e5_c264_se0.25 ir_r2_k5_s1_e6_c288_se0.25 | cn_r1_k1_s1_c1728";
constexpr auto kLcNet =
    "dsa_r1_k3_s1_c32 | dsa_r2_k3_s2_c64 | dsa_r2_k3_s2_c128 | dsa_r1_k3_s2_c256 dsa_r1_k5_s1_c256 | "
    "dsa_r4_k5_s1_c256 | dsa_r2_k5_s2_c512_se0.25";
constexpr auto kMobileV3Large =
    "ds_r1_k3_s1_e1_c16_nre | ir_r1_k3_s2_e4_c24_nre ir_r1_k3_s1_e3_c24_nre | "
    "ir_r3_k5_s2_e3_c40_se0.25_nre | ir_r1_k3_s2_e6_c80 ir_r1_k3_s1_e2.5_c80 ir_r2_k3_s1_e2.3_c80 | "
    "ir_r2_k3_s1_e6_c112_se0.25 | ir_r3_k5_s2_e6_c160_se0.25 | cn_r1_k1_s1_c960";
constexpr auto kMobileV3Rw =
    "ds_r1_k3_s1_e1_c16_nre_noskip | ir_r1_k3_s2_e4_c24_nre ir_r1_k3_s1_e3_c24_nre | "
    "ir_r3_k5_s2_e3_c40_se0.25_nre | ir_r1_k3_s2_e6_c80 ir_r1_k3_s1_e2.5_c80 ir_r2_k3_s1_e2.3_c80 | "
    "ir_r2_k3_s1_e6_c112_se0.25 | ir_r3_k5_s2_e6_c160_se0.25 | cn_r1_k1_s1_c960";
constexpr auto kMobileV3Small =
    "ds_r1_k3_s2_e1_c16_se0.25_nre | ir_r1_k3_s2_e4.5_c24_nre ir_r1_k3_s1_e3.67_c24_nre | "
    "ir_r1_k5_s2_e4_c40_se0.25 ir_r2_k5_s1_e6_c40_se0.25 | ir_r2_k5_s1_e3_c48_se0.25 | "
    "ir_r3_k5_s2_e6_c96_se0.25 | cn_r1_k1_s1_c576";
constexpr auto kMobileV4Large =
    "er_r1_k3_s2_e4_c48 | uir_r1_a3_k5_s2_e4_c96 uir_r1_a3_k3_s1_e4_c96 | "
    "uir_r1_a3_k5_s2_e4_c192 uir_r3_a3_k3_s1_e4_c192 uir_r1_a3_k5_s1_e4_c192 uir_r5_a5_k3_s1_e4_c192 "
    "uir_r1_a3_k0_s1_e4_c192 | "
    "uir_r4_a5_k5_s2_e4_c512 uir_r1_a5_k0_s1_e4_c512 uir_r1_a5_k3_s1_e4_c512 uir_r2_a5_k0_s1_e4_c512 "
    "uir_r1_a5_k3_s1_e4_c512 uir_r1_a5_k5_s1_e4_c512 uir_r3_a5_k0_s1_e4_c512 | cn_r1_k1_s1_c960";
constexpr auto kMobileV4Medium =
    "er_r1_k3_s2_e4_c48 | uir_r1_a3_k5_s2_e4_c80 uir_r1_a3_k3_s1_e2_c80 | "
    "uir_r1_a3_k5_s2_e6_c160 uir_r2_a3_k3_s1_e4_c160 uir_r1_a3_k5_s1_e4_c160 uir_r1_a3_k3_s1_e4_c160 "
    "uir_r1_a3_k0_s1_e4_c160 uir_r1_a0_k0_s1_e2_c160 uir_r1_a3_k0_s1_e4_c160 | "
    "uir_r1_a5_k5_s2_e6_c256 uir_r1_a5_k5_s1_e4_c256 uir_r2_a3_k5_s1_e4_c256 uir_r1_a0_k0_s1_e4_c256 "
    "uir_r1_a3_k0_s1_e4_c256 uir_r1_a3_k5_s1_e2_c256 uir_r1_a5_k5_s1_e4_c256 uir_r2_a0_k0_s1_e4_c256 "
    "uir_r1_a5_k0_s1_e2_c256 | cn_r1_k1_s1_c960";
constexpr auto kMobileV4Small =
    "cn_r1_k3_s2_e1_c32 cn_r1_k1_s1_e1_c32 | cn_r1_k3_s2_e1_c96 cn_r1_k1_s1_e1_c64 | "
    "uir_r1_a5_k5_s2_e3_c96 uir_r4_a0_k3_s1_e2_c96 uir_r1_a3_k0_s1_e4_c96 | "
    "uir_r1_a3_k3_s2_e6_c128 uir_r1_a5_k5_s1_e4_c128 uir_r1_a0_k5_s1_e4_c128 uir_r1_a0_k5_s1_e3_c128 "
    "uir_r2_a0_k3_s1_e4_c128 | cn_r1_k1_s1_c960";
constexpr auto kMobileV3LargeMinimal =
    "ds_r1_k3_s1_e1_c16 | ir_r1_k3_s2_e4_c24 ir_r1_k3_s1_e3_c24 | ir_r3_k3_s2_e3_c40 | "
    "ir_r1_k3_s2_e6_c80 ir_r1_k3_s1_e2.5_c80 ir_r2_k3_s1_e2.3_c80 | ir_r2_k3_s1_e6_c112 | "
    "ir_r3_k3_s2_e6_c160 | cn_r1_k1_s1_c960";
constexpr auto kMobileV3SmallMinimal =
    "ds_r1_k3_s2_e1_c16 | ir_r1_k3_s2_e4.5_c24 ir_r1_k3_s1_e3.67_c24 | "
    "ir_r1_k3_s2_e4_c40 ir_r2_k3_s1_e6_c40 | ir_r2_k3_s1_e3_c48 | ir_r3_k3_s2_e6_c96 | cn_r1_k1_s1_c576";
// clang-format on

} // namespace

void add_efficientnets(EncoderRegistry& registry) {
  using Config = EfficientNetConfig;
  using Config::Activation::HardSwish, Config::Activation::ReLU6, Config::Activation::SiLU;
  using Config::Head::PooledConv, Config::Head::PooledConvNoBias, Config::Head::PooledConvNorm;
  using Config::Squeeze::Hard, Config::Squeeze::Hard8, Config::Squeeze::HardReLU, Config::Squeeze::HardReLU8;
  using enum PixelStats;
  add_family<EfficientNetImpl>(
      registry,
      EncoderRegistry::Library::Timm,
      std::vector<Variant<Config>>{
          // clang-format off
          {"efficientnet_b0", {.stages = kB, .act = SiLU}},
          {"efficientnet_b1", {.stages = kB, .depth = 1.1, .act = SiLU, .input = {240, Inception}}},
          {"efficientnet_b2", {.stages = kB, .width = 1.1, .depth = 1.2, .features = 1408, .act = SiLU, .input = {256}}},
          {"efficientnet_b3", {.stages = kB, .width = 1.2, .depth = 1.4, .features = 1536, .act = SiLU, .input = {288}}},
          {"efficientnet_b4", {.stages = kB, .width = 1.4, .depth = 1.8, .features = 1792, .act = SiLU, .input = {320}}},
          {"efficientnet_b5", {.stages = kB, .width = 1.6, .depth = 2.2, .features = 2048, .act = SiLU, .input = {448}}},
          {"efficientnet_b6", {.stages = kB, .width = 1.8, .depth = 2.6, .features = 2304, .act = SiLU, .input = {528}}},
          {"efficientnet_b7", {.stages = kB, .width = 2, .depth = 3.1, .features = 2560, .act = SiLU, .input = {600}}},
          {"efficientnet_b8", {.stages = kB, .width = 2.2, .depth = 3.6, .features = 2816, .act = SiLU, .input = {672}}},
          {"efficientnet_cc_b0_4e", {.stages = kCondConv, .act = SiLU}},
          {"efficientnet_cc_b0_8e", {.stages = kCondConv, .act = SiLU, .expert_factor = 2}},
          {"efficientnet_cc_b1_8e", {.stages = kCondConv, .depth = 1.1, .act = SiLU, .expert_factor = 2, .input = {240}}},
          {"efficientnet_el", {.stages = kEdge, .width = 1.2, .depth = 1.4, .features = 1536, .input = {300}}},
          {"efficientnet_el_pruned", {.stages = kEdge, .width = 1.2, .depth = 1.4, .features = 1536, .input = {300}}},
          {"efficientnet_em", {.stages = kEdge, .depth = 1.1, .input = {240}}},
          {"efficientnet_es", {.stages = kEdge}},
          {"efficientnet_es_pruned", {.stages = kEdge}},
          {"efficientnet_h_b5", {.stages = kH, .width = 1.92, .depth = 2.2, .features = 2456, .act = SiLU, .input = {448}}},
          {"efficientnet_l2", {.stages = kB, .width = 4.3, .depth = 5.3, .features = 5504, .act = SiLU, .input = {800}}},
          {"efficientnet_lite0", {.stages = kLite, .fix_first_last = true, .fix_stem = true, .act = ReLU6}},
          {"efficientnet_lite1", {.stages = kLite, .depth = 1.1, .fix_first_last = true, .fix_stem = true, .act = ReLU6, .input = {240}}},
          {"efficientnet_lite2", {.stages = kLite, .width = 1.1, .depth = 1.2, .fix_first_last = true, .fix_stem = true, .act = ReLU6, .input = {260}}},
          {"efficientnet_lite3", {.stages = kLite, .width = 1.2, .depth = 1.4, .fix_first_last = true, .fix_stem = true, .act = ReLU6, .input = {300}}},
          {"efficientnet_lite4", {.stages = kLite, .width = 1.4, .depth = 1.8, .fix_first_last = true, .fix_stem = true, .act = ReLU6, .input = {380}}},
          {"efficientnet_x_b3", {.stages = kX, .width = 1.2, .depth = 1.4, .features = 1536, .act = SiLU, .input = {288}}},
          {"efficientnet_x_b5", {.stages = kX, .width = 1.6, .depth = 2.2, .features = 2048, .act = SiLU, .input = {448}}},
          {"efficientnetv2_l", {.stages = kV2Large, .act = SiLU, .input = {384}}},
          {"efficientnetv2_m", {.stages = kV2Medium, .stem = 24, .act = SiLU, .input = {320}}},
          {"efficientnetv2_rw_m", {.stages = kV2Rw, .width = 1.2, .depths = {1.2, 1.2, 1.2, 1.2, 1.6, 1.6}, .stem = 24, .features = 2152, .act = SiLU, .input = {320}}},
          {"efficientnetv2_rw_s", {.stages = kV2Rw, .stem = 24, .features = 1792, .act = SiLU, .input = {288}}},
          {"efficientnetv2_rw_t", {.stages = kV2Small, .width = 0.8, .depth = 0.9, .stem = 24, .features = 1024, .act = SiLU}},
          {"efficientnetv2_s", {.stages = kV2Small, .stem = 24, .act = SiLU, .input = {288}}},
          {"efficientnetv2_xl", {.stages = kV2XLarge, .act = SiLU, .input = {384}}},
          {"fbnetc_100", {.stages = kFbNetC, .stem = 16, .features = 1984}},
          {"mixnet_l", {.stages = kMixNetMedium, .width = 1.3, .round_depth = true, .stem = 24, .features = 1536}},
          {"mixnet_m", {.stages = kMixNetMedium, .round_depth = true, .stem = 24, .features = 1536}},
          {"mixnet_s", {.stages = kMixNetSmall, .stem = 16, .features = 1536}},
          {"mixnet_xl", {.stages = kMixNetMedium, .width = 1.6, .depth = 1.2, .round_depth = true, .stem = 24, .features = 1536}},
          {"mixnet_xxl", {.stages = kMixNetMedium, .width = 2.4, .depth = 1.3, .round_depth = true, .stem = 24, .features = 1536}},
          {"mnasnet_050", {.stages = kMnasNet, .width = 0.5}},
          {"mnasnet_075", {.stages = kMnasNet, .width = 0.75}},
          {"mnasnet_100", {.stages = kMnasNet}},
          {"mnasnet_140", {.stages = kMnasNet, .width = 1.4}},
          {"mnasnet_small", {.stages = kMnasNetSmall, .stem = 8}},
          {"mobilenet_edgetpu_100", {.stages = kEdgeTpu}},
          {"mobilenet_edgetpu_v2_l", {.stages = kEdgeTpuV2Large, .stem = 64, .stem_kernel = 7, .features = 1408}},
          {"mobilenet_edgetpu_v2_m", {.stages = kEdgeTpuV2Medium, .stem = 64, .stem_kernel = 5, .features = 1344, .input = {224, Inception}}},
          {"mobilenet_edgetpu_v2_s", {.stages = kEdgeTpuV2Small, .stem = 64, .stem_kernel = 5}},
          {"mobilenet_edgetpu_v2_xs", {.stages = kEdgeTpuV2XSmall}},
          {"mobilenetv1_100", {.stages = kMobileV1, .features = 0, .act = ReLU6, .input = {224, Inception}}},
          {"mobilenetv1_100h", {.stages = kMobileV1, .features = 1024, .act = ReLU6, .input = {224, Inception}}},
          {"mobilenetv1_125", {.stages = kMobileV1, .width = 1.25, .features = 0, .act = ReLU6, .input = {224, Inception}}},
          {"mobilenetv2_035", {.stages = kMobileV2, .width = 0.35, .act = ReLU6}},
          {"mobilenetv2_050", {.stages = kMobileV2, .width = 0.5, .act = ReLU6}},
          {"mobilenetv2_075", {.stages = kMobileV2, .width = 0.75, .act = ReLU6}},
          {"mobilenetv2_100", {.stages = kMobileV2, .act = ReLU6}},
          {"mobilenetv2_110d", {.stages = kMobileV2, .width = 1.1, .depth = 1.2, .fix_first_last = true, .fix_stem = true, .act = ReLU6}},
          {"mobilenetv2_120d", {.stages = kMobileV2, .width = 1.2, .depth = 1.4, .fix_first_last = true, .fix_stem = true, .act = ReLU6}},
          {"mobilenetv2_140", {.stages = kMobileV2, .width = 1.4, .features = 1792, .act = ReLU6}},
          {"semnasnet_050", {.stages = kSemNasNet, .width = 0.5}},
          {"semnasnet_075", {.stages = kSemNasNet, .width = 0.75}},
          {"semnasnet_100", {.stages = kSemNasNet}},
          {"semnasnet_140", {.stages = kSemNasNet, .width = 1.4}},
          {"spnasnet_100", {.stages = kSpNasNet}},
          {"tf_efficientnet_b0", {.stages = kB, .act = SiLU, .tf = true}},
          {"tf_efficientnet_b1", {.stages = kB, .depth = 1.1, .act = SiLU, .tf = true, .input = {240}}},
          {"tf_efficientnet_b2", {.stages = kB, .width = 1.1, .depth = 1.2, .features = 1408, .act = SiLU, .tf = true, .input = {260}}},
          {"tf_efficientnet_b3", {.stages = kB, .width = 1.2, .depth = 1.4, .features = 1536, .act = SiLU, .tf = true, .input = {300}}},
          {"tf_efficientnet_b4", {.stages = kB, .width = 1.4, .depth = 1.8, .features = 1792, .act = SiLU, .tf = true, .input = {380}}},
          {"tf_efficientnet_b5", {.stages = kB, .width = 1.6, .depth = 2.2, .features = 2048, .act = SiLU, .tf = true, .input = {456}}},
          {"tf_efficientnet_b6", {.stages = kB, .width = 1.8, .depth = 2.6, .features = 2304, .act = SiLU, .tf = true, .input = {528}}},
          {"tf_efficientnet_b7", {.stages = kB, .width = 2, .depth = 3.1, .features = 2560, .act = SiLU, .tf = true, .input = {600}}},
          {"tf_efficientnet_b8", {.stages = kB, .width = 2.2, .depth = 3.6, .features = 2816, .act = SiLU, .tf = true, .input = {672, Inception}}},
          {"tf_efficientnet_cc_b0_4e", {.stages = kCondConv, .act = SiLU, .tf = true, .input = {224, Inception}}},
          {"tf_efficientnet_cc_b0_8e", {.stages = kCondConv, .act = SiLU, .expert_factor = 2, .tf = true, .input = {224, Inception}}},
          {"tf_efficientnet_cc_b1_8e", {.stages = kCondConv, .depth = 1.1, .act = SiLU, .expert_factor = 2, .tf = true, .input = {240, Inception}}},
          {"tf_efficientnet_el", {.stages = kEdge, .width = 1.2, .depth = 1.4, .features = 1536, .tf = true, .input = {300, Inception}}},
          {"tf_efficientnet_em", {.stages = kEdge, .depth = 1.1, .tf = true, .input = {240, Inception}}},
          {"tf_efficientnet_es", {.stages = kEdge, .tf = true, .input = {224, Inception}}},
          {"tf_efficientnet_l2", {.stages = kB, .width = 4.3, .depth = 5.3, .features = 5504, .act = SiLU, .tf = true, .input = {475}}},
          {"tf_efficientnet_lite0", {.stages = kLite, .fix_first_last = true, .fix_stem = true, .act = ReLU6, .tf = true, .input = {224, Inception}}},
          {"tf_efficientnet_lite1", {.stages = kLite, .depth = 1.1, .fix_first_last = true, .fix_stem = true, .act = ReLU6, .tf = true, .input = {240, Inception}}},
          {"tf_efficientnet_lite2", {.stages = kLite, .width = 1.1, .depth = 1.2, .fix_first_last = true, .fix_stem = true, .act = ReLU6, .tf = true, .input = {260, Inception}}},
          {"tf_efficientnet_lite3", {.stages = kLite, .width = 1.2, .depth = 1.4, .fix_first_last = true, .fix_stem = true, .act = ReLU6, .tf = true, .input = {300, Inception}}},
          {"tf_efficientnet_lite4", {.stages = kLite, .width = 1.4, .depth = 1.8, .fix_first_last = true, .fix_stem = true, .act = ReLU6, .tf = true, .input = {380, Inception}}},
          {"tf_efficientnetv2_b0", {.stages = kV2Base, .round_limit = 0, .act = SiLU, .tf = true, .input = {192}}},
          {"tf_efficientnetv2_b1", {.stages = kV2Base, .depth = 1.1, .round_limit = 0, .act = SiLU, .tf = true, .input = {192}}},
          {"tf_efficientnetv2_b2", {.stages = kV2Base, .width = 1.1, .depth = 1.2, .round_limit = 0, .features = 1408, .act = SiLU, .tf = true, .input = {208}}},
          {"tf_efficientnetv2_b3", {.stages = kV2Base, .width = 1.2, .depth = 1.4, .round_limit = 0, .features = 1536, .act = SiLU, .tf = true, .input = {240, Inception}}},
          {"tf_efficientnetv2_l", {.stages = kV2Large, .act = SiLU, .tf = true, .input = {384, Inception}}},
          {"tf_efficientnetv2_m", {.stages = kV2Medium, .stem = 24, .act = SiLU, .tf = true, .input = {384, Inception}}},
          {"tf_efficientnetv2_s", {.stages = kV2Small, .stem = 24, .act = SiLU, .tf = true, .input = {300, Inception}}},
          {"tf_efficientnetv2_xl", {.stages = kV2XLarge, .act = SiLU, .tf = true, .input = {384, Inception}}},
          {"tf_mixnet_l", {.stages = kMixNetMedium, .width = 1.3, .round_depth = true, .stem = 24, .features = 1536, .tf = true}},
          {"tf_mixnet_m", {.stages = kMixNetMedium, .round_depth = true, .stem = 24, .features = 1536, .tf = true}},
          {"tf_mixnet_s", {.stages = kMixNetSmall, .stem = 16, .features = 1536, .tf = true}},
          {"tinynet_a", {.stages = kB, .depth = 1.2, .round_depth = true, .fix_stem = true, .act = SiLU, .input = {192}}},
          {"tinynet_b", {.stages = kB, .width = 0.75, .depth = 1.1, .round_depth = true, .fix_stem = true, .act = SiLU, .input = {188}}},
          {"tinynet_c", {.stages = kB, .width = 0.54, .depth = 0.85, .round_depth = true, .fix_stem = true, .act = SiLU, .input = {184}}},
          {"tinynet_d", {.stages = kB, .width = 0.54, .depth = 0.695, .round_depth = true, .fix_stem = true, .act = SiLU, .input = {152}}},
          {"tinynet_e", {.stages = kB, .width = 0.51, .depth = 0.6, .round_depth = true, .fix_stem = true, .act = SiLU, .input = {106}}},
          {"fbnetv3_b", {.stages = kFbNetV3B, .round_limit = 0.95, .stem = 16, .features = 1984, .head = PooledConvNoBias, .act = HardSwish, .squeeze = Hard8}},
          {"fbnetv3_d", {.stages = kFbNetV3D, .round_limit = 0.95, .stem = 24, .features = 1984, .head = PooledConvNoBias, .act = HardSwish, .squeeze = Hard8}},
          {"fbnetv3_g", {.stages = kFbNetV3G, .round_limit = 0.95, .features = 1984, .head = PooledConvNoBias, .act = HardSwish, .squeeze = Hard8, .input = {240}}},
          {"lcnet_035", {.stages = kLcNet, .width = 0.35, .stem = 16, .head = PooledConv, .act = HardSwish, .squeeze = HardReLU, .squeeze_of_expanded = true}},
          {"lcnet_050", {.stages = kLcNet, .width = 0.5, .stem = 16, .head = PooledConv, .act = HardSwish, .squeeze = HardReLU, .squeeze_of_expanded = true}},
          {"lcnet_075", {.stages = kLcNet, .width = 0.75, .stem = 16, .head = PooledConv, .act = HardSwish, .squeeze = HardReLU, .squeeze_of_expanded = true}},
          {"lcnet_100", {.stages = kLcNet, .stem = 16, .head = PooledConv, .act = HardSwish, .squeeze = HardReLU, .squeeze_of_expanded = true}},
          {"lcnet_150", {.stages = kLcNet, .width = 1.5, .stem = 16, .head = PooledConv, .act = HardSwish, .squeeze = HardReLU, .squeeze_of_expanded = true}},
          {"mobilenetv3_large_075", {.stages = kMobileV3Large, .width = 0.75, .stem = 16, .head = PooledConv, .act = HardSwish, .squeeze = HardReLU8, .squeeze_of_expanded = true}},
          {"mobilenetv3_large_100", {.stages = kMobileV3Large, .stem = 16, .head = PooledConv, .act = HardSwish, .squeeze = HardReLU8, .squeeze_of_expanded = true}},
          {"mobilenetv3_large_150d", {.stages = kMobileV3Large, .width = 1.5, .depth = 1.2, .stem = 16, .head = PooledConv, .act = HardSwish, .squeeze = HardReLU8, .squeeze_of_expanded = true, .input = {256, Inception}}},
          {"mobilenetv3_rw", {.stages = kMobileV3Rw, .stem = 16, .head = PooledConvNoBias, .act = HardSwish, .squeeze = Hard, .squeeze_of_expanded = true, .bn_eps = 1e-3}},
          {"mobilenetv3_small_050", {.stages = kMobileV3Small, .width = 0.5, .stem = 16, .fix_stem = true, .features = 1024, .head = PooledConv, .act = HardSwish, .squeeze = HardReLU8, .squeeze_of_expanded = true}},
          {"mobilenetv3_small_075", {.stages = kMobileV3Small, .width = 0.75, .stem = 16, .features = 1024, .head = PooledConv, .act = HardSwish, .squeeze = HardReLU8, .squeeze_of_expanded = true}},
          {"mobilenetv3_small_100", {.stages = kMobileV3Small, .stem = 16, .features = 1024, .head = PooledConv, .act = HardSwish, .squeeze = HardReLU8, .squeeze_of_expanded = true}},
          {"mobilenetv4_conv_large", {.stages = kMobileV4Large, .stem = 24, .head = PooledConvNorm, .squeeze_of_expanded = true, .input = {384}}},
          {"mobilenetv4_conv_medium", {.stages = kMobileV4Medium, .head = PooledConvNorm, .squeeze_of_expanded = true, .input = {256}}},
          {"mobilenetv4_conv_small", {.stages = kMobileV4Small, .head = PooledConvNorm, .squeeze_of_expanded = true}},
          {"mobilenetv4_conv_small_035", {.stages = kMobileV4Small, .width = 0.35, .fix_stem = true, .head = PooledConvNorm, .squeeze_of_expanded = true, .input = {224, Inception}}},
          {"mobilenetv4_conv_small_050", {.stages = kMobileV4Small, .width = 0.5, .fix_stem = true, .head = PooledConvNorm, .squeeze_of_expanded = true, .input = {224, Inception}}},
          {"tf_mobilenetv3_large_075", {.stages = kMobileV3Large, .width = 0.75, .stem = 16, .head = PooledConv, .act = HardSwish, .squeeze = HardReLU8, .squeeze_of_expanded = true, .tf = true, .input = {224, Inception}}},
          {"tf_mobilenetv3_large_100", {.stages = kMobileV3Large, .stem = 16, .head = PooledConv, .act = HardSwish, .squeeze = HardReLU8, .squeeze_of_expanded = true, .tf = true, .input = {224, Inception}}},
          {"tf_mobilenetv3_large_minimal_100", {.stages = kMobileV3LargeMinimal, .stem = 16, .head = PooledConv, .squeeze = HardReLU8, .squeeze_of_expanded = true, .tf = true, .input = {224, Inception}}},
          {"tf_mobilenetv3_small_075", {.stages = kMobileV3Small, .width = 0.75, .stem = 16, .features = 1024, .head = PooledConv, .act = HardSwish, .squeeze = HardReLU8, .squeeze_of_expanded = true, .tf = true, .input = {224, Inception}}},
          {"tf_mobilenetv3_small_100", {.stages = kMobileV3Small, .stem = 16, .features = 1024, .head = PooledConv, .act = HardSwish, .squeeze = HardReLU8, .squeeze_of_expanded = true, .tf = true, .input = {224, Inception}}},
          {"tf_mobilenetv3_small_minimal_100", {.stages = kMobileV3SmallMinimal, .stem = 16, .features = 1024, .head = PooledConv, .squeeze = HardReLU8, .squeeze_of_expanded = true, .tf = true, .input = {224, Inception}}},
          // clang-format on
      });
}

} // namespace barlow
