// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

namespace barlow {

/// A page of HTML that needs no other file, under way.
class HtmlPage {
 public:
  explicit HtmlPage(const std::string& title);
  void heading(const std::string& text);
  void paragraph(const std::string& text);
  void picture(const at::Tensor& image, const std::string& caption); ///< uint8 [C,H,W]
  void table(const std::vector<std::vector<std::string>>& rows); ///< the first one names the columns
  std::string text() const; ///< the whole

 private:
  std::string html_;
};

} // namespace barlow
