// SPDX-License-Identifier: Apache-2.0
#include "html.h"

#include <string_view>

#include <fmt/format.h>

#include <barlow/image.h>

namespace barlow {
namespace {

std::string escape(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string base64(const std::vector<char>& bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t three = 0;
    for (size_t j = 0; j < 3; ++j) {
      three = three << 8 | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0U);
    }
    for (size_t j = 0; j < 4; ++j) {
      text += i + j > bytes.size() ? '=' : kDigits[three >> (18 - 6 * j) & 63];
    }
  }
  return text;
}

} // namespace

HtmlPage::HtmlPage(const std::string& title) {
  html_ = fmt::format(
      R"(<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{0}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
figure {{ display: inline-block; margin: 0 1rem 1rem 0; vertical-align: top; max-width: 100%; }}
figcaption {{ color: #555; font-size: 0.9rem; }}
img {{ max-width: 100%; height: auto; border: 1px solid #ddd; }}
table {{ border-collapse: collapse; margin-bottom: 1rem; }}
th, td {{ text-align: left; padding: 0.25rem 1rem 0.25rem 0; border-bottom: 1px solid #ddd; }}
</style></head><body>
<h1>{0}</h1>
)",
      escape(title));
}

void HtmlPage::heading(const std::string& text) {
  html_ += fmt::format("<h2>{}</h2>\n", escape(text));
}

void HtmlPage::paragraph(const std::string& text) {
  html_ += fmt::format("<p>{}</p>\n", escape(text));
}

void HtmlPage::picture(const at::Tensor& image, const std::string& caption) {
  html_ += fmt::format(
      "<figure><img alt=\"{0}\" width=\"{1}\" height=\"{2}\" src=\"data:image/png;base64,{3}\">"
      "<figcaption>{0}</figcaption></figure>\n",
      escape(caption),
      image.size(2),
      image.size(1),
      base64(encode_png(image)));
}

void HtmlPage::table(const std::vector<std::vector<std::string>>& rows) {
  html_ += "<table>\n";
  for (size_t i = 0; i < rows.size(); ++i) {
    html_ += "<tr>";
    for (const auto& cell : rows[i]) {
      const char* tag = i == 0 ? "th" : "td";
      html_ += fmt::format("<{0}>{1}</{0}>", tag, escape(cell));
    }
    html_ += "</tr>\n";
  }
  html_ += "</table>\n";
}

std::string HtmlPage::text() const {
  return html_ + "</body></html>\n";
}

} // namespace barlow
