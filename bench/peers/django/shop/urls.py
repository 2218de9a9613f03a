from django.urls import path

from shop.views import commit

urlpatterns = [path("orders/commit/", commit)]
