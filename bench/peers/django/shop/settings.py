"""A lean production configuration: no debugging, no middleware, connections that last."""

import os
from urllib.parse import urlsplit

_database = urlsplit(os.environ["SHOP_DATABASE"])
_redis = os.environ["SHOP_REDIS"]

DEBUG = False
# Nothing is signed with it here; Django doesn't start without one.
SECRET_KEY = "of the benchmark alone"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["shop"]
MIDDLEWARE = []
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
USE_I18N = False
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGGING_CONFIG = None

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": _database.hostname,
        "PORT": _database.port,
        "USER": _database.username,
        "NAME": _database.path.lstrip("/"),
        # Each thread keeps its connection for good.
        "CONN_MAX_AGE": None,
    }
}

CACHES = {
    "carts": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"{_redis}/0",
        "OPTIONS": {"CLIENT_CLASS": "django_redis.client.DefaultClient"},
    },
    "replies": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": f"{_redis}/1",
        "OPTIONS": {"CLIENT_CLASS": "django_redis.client.DefaultClient"},
    },
}
CACHES["default"] = CACHES["carts"]

# naive, optimistic, pessimistic or queue.
SHOP_CURE = os.environ["SHOP_CURE"]
CELERY_BROKER_URL = f"{_redis}/1"
