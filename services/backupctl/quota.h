#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "backup/v1/types.pb.h"

namespace backup::ctl {

// The bytes that `text`, given as `option`, means: a number, with K, M, G, T or P behind it of
// 1024, ... of them, and iB or B behind that, such as 500M, 10GiB or 4096; at most 2^53.
// InvalidArgument.
absl::StatusOr<int64_t> ParseSize(absl::string_view option, absl::string_view text);

// For people: what is used, and the limits, such as "900 B used, soft 800 B (exceeded); 3 files
// used, hard 10".
std::string QuotaText(const v1::QuotaUse& use);

}  // namespace backup::ctl
