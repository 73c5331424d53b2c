// SPDX-License-Identifier: Apache-2.0
// Finding image files, and making the two loaders of a data set.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <barlow/data.h>
#include <barlow/error.h>

#include "path_list.h"

namespace barlow {

/// By its suffix, of any case.
bool is_image_name(const std::filesystem::path& path);

/// Regular files with an image's name anywhere under a folder, sorted; links are followed, each folder entered once. A
/// folder that cannot be listed is among them, to be counted as a bad sample.
PathList find_images(const std::filesystem::path& folder);

/// Throws Error "[name] ..." unless 0 <= index < size.
void check_index(int64_t index, int64_t size, std::string_view name);

/// Calls `take` with each path of a list's text: a line each, or separated by zero bytes.
void for_each_path(std::string_view text, const std::function<void(std::string_view)>& take);
std::vector<std::filesystem::path> parse_path_list(std::string_view text); ///< all of them

/// The paths of a list, relative ones to its folder. Throws FileError.
PathList read_paths(const std::filesystem::path& file);

/// A file that was found in a folder is not there any more: the data set is another one, not one with a bad sample.
class FileGone : public FileError {
 public:
  using FileError::FileError;
};

/// As image_files of datasets.h. `found`: the files have been there, and FileGone is thrown when one is not.
std::shared_ptr<Dataset> image_files(PathList files, std::vector<int64_t> labels, bool found);

/// Shuffled, full batches for training; the validation set, if there is one, with a seed of its own.
DataLoaders make_loaders(
    std::shared_ptr<const Dataset> train,
    std::shared_ptr<const Dataset> valid,
    LoaderOptions options,
    std::string_view name);
LoaderOptions training_options(LoaderOptions options, int64_t samples, std::string_view name);
LoaderOptions validation_options(LoaderOptions options);

} // namespace barlow
