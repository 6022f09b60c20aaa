#pragma once

#include <cstddef>
#include <stop_token>
#include <string>

#include "absl/time/time.h"
#include "bridge/bridge_metrics.h"

namespace backup::bridge {

// Who asks: sent along with every call, for the service's log.
struct CallOrigin {
  std::string request_id;
  // If it uploads: the same however often that is tried. Of a verdict: the upload that it is about,
  // empty if that is not known. UUID text.
  std::string upload_id;
  std::string peer;
  std::string connection;
  std::string request;  // As it was decoded; for whoever traces the client.
};

struct BackendOptions {
  // How long a call that meets a restarting service is tried again.
  absl::Duration ride_through = absl::Seconds(30);
  // How much of a file is kept so that its upload can be tried again; a longer one cannot.
  size_t spool_bytes = size_t{4} << 20;
  // How much all uploads keep together; while that is used up, further ones cannot be tried again.
  size_t total_spool_bytes = size_t{64} << 20;
  // Once requested, calls in flight are cancelled and nothing is tried again.
  std::stop_token give_up = {};
  BridgeMetrics metrics = {};
};

}  // namespace backup::bridge
