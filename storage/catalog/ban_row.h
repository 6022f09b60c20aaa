#pragma once

#include "absl/time/time.h"
#include "storage/catalog/ban.h"

// What catalogs in databases have in common of the table bans. A macro, as statements are literals.
#define BAN_COLUMNS "network, start_time, end_time, source, author, reason, strikes"

namespace backup::storage {

// Of the current row of a query of either database for BAN_COLUMNS.
template <typename Query>
Ban ReadBan(const Query& row) {
  const int64_t end = row.Int(2);
  return {.network = row.Blob(0),
          .start_time = absl::FromUnixMicros(row.Int(1)),
          .end_time = end == absl::ToUnixMicros(absl::InfiniteFuture()) ? absl::InfiniteFuture()
                                                                        : absl::FromUnixMicros(end),
          .source = static_cast<BanSource>(row.Int(3)),
          .author = row.Blob(4),
          .reason = row.Blob(5),
          .strikes = row.Int(6)};
}

}  // namespace backup::storage
