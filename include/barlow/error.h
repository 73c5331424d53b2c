// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <stdexcept>
#include <string>

namespace barlow {

/// Every error the library throws. The text is `[public_name] rule, received value; remedy`.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A file or folder that is missing, unreadable or malformed; the text names its path.
class FileError : public Error {
 public:
  using Error::Error;
};

/// Pixels that are NaN, an embedding or a loss that is NaN or infinite.
class NonFiniteError : public Error {
 public:
  using Error::Error;
};

} // namespace barlow
