// Names of the functions that Python calls: they end in the variant that they are compiled for, and the namespace
// is one of the variant's own (build.py defines both), so that one library can hold several.
#pragma once

#define FOREBAY_JOIN(name, variant) forebay_##name##_##variant
#define FOREBAY_NAME(name, variant) FOREBAY_JOIN(name, variant)
#define EXPORTED(name) FOREBAY_NAME(name, FOREBAY_VARIANT)
