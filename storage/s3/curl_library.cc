#include "storage/s3/curl_library.h"

#include <dlfcn.h>

#include <type_traits>

#include "absl/strings/str_cat.h"

namespace backup::storage::s3 {
namespace {

constexpr char kName[] = "libcurl.so.4";
// The first that signs what a store of objects wants to be signed (7.86), and ends without waiting
// for a name that nobody needs any more.
constexpr unsigned kLeastVersion = 0x075700;  // 7.87.0

// Whether it was built with what we need of it.
bool CanSign(const CurlLibrary& curl) {
  CURL* const easy = curl.easy_init();
  if (easy == nullptr) return false;
  const bool can = curl.easy_setopt(easy, CURLOPT_AWS_SIGV4, "aws:amz:x:s3") == CURLE_OK &&
                   curl.easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L) == CURLE_OK;
  curl.easy_cleanup(easy);
  return can;
}

absl::StatusOr<CurlLibrary> Load() {
  void* const library = ::dlopen(kName, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        "blobs in an object store need libcurl: install libcurl4 (", ::dlerror(), ")"));
  }
  bool has_all = true;
  const auto load = [&](auto& function, const char* name) {
    void* const symbol = ::dlsym(library, name);
    has_all = has_all && symbol != nullptr;
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(symbol);
  };
  CurlLibrary curl = {};
  decltype(&::curl_global_init) global_init = nullptr;
  decltype(&::curl_version_info) version_info = nullptr;
  load(global_init, "curl_global_init");
  load(version_info, "curl_version_info");
  load(curl.multi_init, "curl_multi_init");
  load(curl.multi_cleanup, "curl_multi_cleanup");
  load(curl.multi_setopt, "curl_multi_setopt");
  load(curl.multi_add_handle, "curl_multi_add_handle");
  load(curl.multi_remove_handle, "curl_multi_remove_handle");
  load(curl.multi_perform, "curl_multi_perform");
  load(curl.multi_poll, "curl_multi_poll");
  load(curl.multi_wakeup, "curl_multi_wakeup");
  load(curl.multi_info_read, "curl_multi_info_read");
  load(curl.easy_init, "curl_easy_init");
  load(curl.easy_cleanup, "curl_easy_cleanup");
  load(curl.easy_reset, "curl_easy_reset");
  load(curl.easy_setopt, "curl_easy_setopt");
  load(curl.easy_getinfo, "curl_easy_getinfo");
  load(curl.easy_strerror, "curl_easy_strerror");
  load(curl.slist_append, "curl_slist_append");
  load(curl.slist_free_all, "curl_slist_free_all");
  if (!has_all || version_info(CURLVERSION_NOW)->version_num < kLeastVersion)
    return absl::FailedPreconditionError("libcurl is older than 7.87: install a newer libcurl4");
  if (global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
    return absl::FailedPreconditionError("libcurl cannot be initialized");
  if (!CanSign(curl)) {
    return absl::FailedPreconditionError(
        "libcurl was built without signatures of AWS: install Debian's libcurl4");
  }
  return curl;
}

}  // namespace

const absl::StatusOr<CurlLibrary>& CurlLibrary::Get() {
  // Never unloaded: it has state of its own in the process.
  static const absl::StatusOr<CurlLibrary>& library = *new absl::StatusOr<CurlLibrary>(Load());
  return library;
}

}  // namespace backup::storage::s3
