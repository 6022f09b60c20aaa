#pragma once

#include <curl/curl.h>

#include "absl/status/statusor.h"

namespace backup::storage::s3 {

// The functions of libcurl that we use. It is loaded when it is first asked for: thirty other
// libraries come along with it, which would make every start of every program slower and larger
// (docs/adr/0050-blobs-in-an-object-store.md). Thread-safe.
struct CurlLibrary {
  decltype(&::curl_multi_init) multi_init;
  decltype(&::curl_multi_cleanup) multi_cleanup;
  decltype(&::curl_multi_setopt) multi_setopt;
  decltype(&::curl_multi_add_handle) multi_add_handle;
  decltype(&::curl_multi_remove_handle) multi_remove_handle;
  decltype(&::curl_multi_perform) multi_perform;
  decltype(&::curl_multi_poll) multi_poll;
  decltype(&::curl_multi_wakeup) multi_wakeup;
  decltype(&::curl_multi_info_read) multi_info_read;
  decltype(&::curl_easy_init) easy_init;
  decltype(&::curl_easy_cleanup) easy_cleanup;
  decltype(&::curl_easy_reset) easy_reset;
  decltype(&::curl_easy_setopt) easy_setopt;
  decltype(&::curl_easy_getinfo) easy_getinfo;
  decltype(&::curl_easy_strerror) easy_strerror;
  decltype(&::curl_slist_append) slist_append;
  decltype(&::curl_slist_free_all) slist_free_all;

  // That of the process, initialized. FailedPrecondition if there is none, or it is too old.
  static const absl::StatusOr<CurlLibrary>& Get();
};

}  // namespace backup::storage::s3
