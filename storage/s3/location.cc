#include "storage/s3/location.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace backup::storage::s3 {
namespace {

// Of the names of buckets, wherever they are.
constexpr size_t kMinBucketSize = 3;
constexpr size_t kMaxBucketSize = 63;

absl::Status Wrong(absl::string_view what) { return absl::InvalidArgumentError(what); }

bool IsLowerOrDigit(char c) { return absl::ascii_islower(c) || absl::ascii_isdigit(c); }

bool IsBucketName(absl::string_view name) {
  return name.size() >= kMinBucketSize && name.size() <= kMaxBucketSize &&
         IsLowerOrDigit(name.front()) && IsLowerOrDigit(name.back()) &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return IsLowerOrDigit(c) || c == '-' || c == '.'; });
}

bool IsPrefix(absl::string_view prefix) {
  if (prefix.empty()) return true;
  if (prefix.size() > kMaxPrefixSize) return false;
  const std::vector<absl::string_view> parts = absl::StrSplit(prefix, '/');
  return std::all_of(parts.begin(), parts.end(), [](absl::string_view part) {
    return !part.empty() && part != "." && part != ".." &&
           std::all_of(part.begin(), part.end(), [](char c) {
             return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
           });
  });
}

bool IsHost(absl::string_view host) {
  return !host.empty() && std::all_of(host.begin(), host.end(), [](char c) {
    return absl::ascii_isalnum(c) || absl::string_view("-.:[]").find(c) != absl::string_view::npos;
  });
}

bool IsEndpoint(absl::string_view endpoint) {
  return endpoint.size() <= kMaxEndpointSize &&
         (absl::ConsumePrefix(&endpoint, "https://") ||
          absl::ConsumePrefix(&endpoint, "http://")) &&
         IsHost(endpoint);
}

bool IsRegion(absl::string_view region) {
  return !region.empty() && region.size() <= kMaxRegionSize &&
         std::all_of(region.begin(), region.end(),
                     [](char c) { return absl::ascii_isalnum(c) || c == '-' || c == '_'; });
}

}  // namespace

absl::StatusOr<Location> ParseLocation(absl::string_view url, absl::string_view endpoint,
                                       absl::string_view region, absl::string_view addressing) {
  if (!absl::ConsumePrefix(&url, "s3://"))
    return Wrong("a store of blobs must be s3://BUCKET or s3://BUCKET/PREFIX");
  const size_t slash = url.find('/');
  const absl::string_view bucket = url.substr(0, slash);
  absl::string_view prefix =
      slash == absl::string_view::npos ? absl::string_view() : url.substr(slash + 1);
  absl::ConsumeSuffix(&prefix, "/");
  if (!IsBucketName(bucket)) {
    return Wrong(
        absl::StrFormat("the name of a bucket has %d to %d lower-case letters, digits, '-' and '.'",
                        kMinBucketSize, kMaxBucketSize));
  }
  if (!IsPrefix(prefix)) {
    return Wrong(absl::StrFormat(
        "a prefix in a bucket has letters, digits, '-', '_', '.' and single '/', %d at most",
        kMaxPrefixSize));
  }
  if (!IsRegion(region))
    return Wrong("a region has letters, digits, '-' and '_'; us-east-1 does for most stores");
  absl::ConsumeSuffix(&endpoint, "/");
  Location location;
  location.bucket = std::string(bucket);
  location.prefix = prefix.empty() ? "" : absl::StrCat(prefix, "/");
  location.region = std::string(region);
  location.endpoint = endpoint.empty() ? absl::StrCat("https://s3.", region, ".amazonaws.com")
                                       : std::string(endpoint);
  if (!IsEndpoint(location.endpoint))
    return Wrong("an endpoint must be https://HOST[:PORT], or http://HOST[:PORT]");
  if (addressing != "path" && addressing != "virtual")
    return Wrong("the addressing of buckets must be path or virtual");
  location.addressing =
      addressing == "path" ? Location::Addressing::kPath : Location::Addressing::kVirtual;
  return location;
}

std::string PercentEncoded(absl::string_view text) {
  std::string encoded;
  for (const char c : text) {
    if (absl::ascii_isalnum(c) || absl::string_view("-_.~").find(c) != absl::string_view::npos) {
      encoded.push_back(c);
    } else {
      absl::StrAppendFormat(&encoded, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return encoded;
}

std::string UrlOf(const Location& location, absl::string_view key, Query query) {
  const size_t host = location.endpoint.find("://") + 3;
  std::string url =
      location.addressing == Location::Addressing::kPath
          ? absl::StrCat(location.endpoint, "/", location.bucket, "/", key)
          : absl::StrCat(absl::string_view(location.endpoint).substr(0, host), location.bucket, ".",
                         absl::string_view(location.endpoint).substr(host), "/", key);
  std::sort(query.begin(), query.end());
  char separator = '?';
  for (const auto& [name, value] : query) {
    // Also without a value there is a "=", as the signature has one.
    absl::StrAppend(&url, absl::string_view(&separator, 1), PercentEncoded(name), "=",
                    PercentEncoded(value));
    separator = '&';
  }
  return url;
}

}  // namespace backup::storage::s3
