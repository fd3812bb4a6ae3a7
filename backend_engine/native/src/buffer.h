// Working memory that is kept from call to call.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace forebay {

// Makes room for `size` values; it never gives room back.
inline void grow(std::vector<float>& buffer, int64_t size) {
  if (buffer.size() < static_cast<size_t>(size)) buffer.resize(static_cast<size_t>(size));
}

}  // namespace forebay
