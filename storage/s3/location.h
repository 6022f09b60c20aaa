#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace backup::storage::s3 {

// Where the blobs of one installation are: a bucket of a store, and what the names of all its
// objects there begin with.
struct Location {
  // How a request names the bucket: https://HOST/BUCKET/KEY, or https://BUCKET.HOST/KEY.
  enum class Addressing { kPath, kVirtual };

  std::string bucket;
  std::string prefix;    // "" or one that ends with a slash.
  std::string endpoint;  // "https://HOST[:PORT]", or http.
  std::string region;    // What signatures are made for; most stores take any.
  Addressing addressing = Addressing::kPath;
};

// Bounds of a location, and of what is in it.
inline constexpr size_t kMaxPrefixSize = 512;
inline constexpr size_t kMaxEndpointSize = 256;
inline constexpr size_t kMaxRegionSize = 64;

// A location from what an operator writes: `url` is s3://BUCKET or s3://BUCKET/PREFIX, where the
// prefix has letters, digits, '-', '_', '.' and '/'; an empty `endpoint` is that of AWS in
// `region`. InvalidArgument, in one line that names what is wrong.
absl::StatusOr<Location> ParseLocation(absl::string_view url, absl::string_view endpoint,
                                       absl::string_view region, absl::string_view addressing);

// Names and values of a query; not encoded.
using Query = std::vector<std::pair<std::string, std::string>>;

// The URL of an object, or, with an empty `key`, of the bucket. The query is sorted, as signatures
// need it: curl signs it as it is.
std::string UrlOf(const Location& location, absl::string_view key, Query query);

// As a part of a URL: all but letters, digits and "-_.~" as %XX.
std::string PercentEncoded(absl::string_view text);

}  // namespace backup::storage::s3
